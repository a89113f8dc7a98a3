#include "kernels/attention.h"
#include "kernels/cpu_features.h"
#include "kernels/cross_entropy.h"
#include "kernels/dropout.h"
#include "kernels/elementwise.h"
#include "kernels/four_bit.h"
#include "kernels/int8_rows.h"
#include "kernels/integer_grid.h"
#include "kernels/lut.h"
#include "kernels/matvec.h"
#include "kernels/optimizer.h"
#include "kernels/packed_groups.h"

namespace isogrid::kernels {

#define ISOGRID_DECLARE_ATTENTION(isa)                            \
  namespace isa {                                                 \
  extern const AttentionKernels attention_table;                  \
  extern const AttentionBackwardKernels attention_backward_table; \
  }
#define ISOGRID_DECLARE_TABLES(isa)                     \
  ISOGRID_DECLARE_ATTENTION(isa)                        \
  namespace isa {                                       \
  extern const CrossEntropyKernels cross_entropy_table; \
  extern const DropoutKernels dropout_table;            \
  extern const ElementwiseKernels elementwise_table;    \
  extern const FourBitKernels four_bit_table;           \
  extern const Int8RowKernels int8_row_table;           \
  extern const IntegerGridKernels integer_grid_table;   \
  extern const LutKernels lut_table;                    \
  extern const MatvecKernels matvec_table;              \
  extern const OptimizerKernels optimizer_table;        \
  extern const PackedGroupKernels packed_group_table;   \
  }
ISOGRID_DECLARE_TABLES(baseline)
#if defined(__x86_64__)
ISOGRID_DECLARE_TABLES(avx2)
ISOGRID_DECLARE_TABLES(avx512)
ISOGRID_DECLARE_ATTENTION(avx512bf16)
#define ISOGRID_HAS(isa, wanted) ((isa) >= Isa::wanted && best_isa() >= Isa::wanted)
#define ISOGRID_PICK(isa, table)            \
  (ISOGRID_HAS(isa, avx512) ? avx512::table \
   : ISOGRID_HAS(isa, avx2) ? avx2::table   \
                            : baseline::table)
#define ISOGRID_PICK_ATTENTION(isa, table) \
  (ISOGRID_HAS(isa, avx512bf16) ? avx512bf16::table : ISOGRID_PICK(isa, table))
#else
#define ISOGRID_PICK(isa, table) (static_cast<void>(isa), baseline::table)
#define ISOGRID_PICK_ATTENTION(isa, table) ISOGRID_PICK(isa, table)
#endif

const ElementwiseKernels& elementwise_kernels(Isa isa) {
  return ISOGRID_PICK(isa, elementwise_table);
}
const ElementwiseKernels& elementwise_kernels() { return elementwise_kernels(best_isa()); }

const IntegerGridKernels& integer_grid_kernels(Isa isa) {
  return ISOGRID_PICK(isa, integer_grid_table);
}
const IntegerGridKernels& integer_grid_kernels() { return integer_grid_kernels(best_isa()); }

const LutKernels& lut_kernels(Isa isa) { return ISOGRID_PICK(isa, lut_table); }
const LutKernels& lut_kernels() { return lut_kernels(best_isa()); }

const FourBitKernels& four_bit_kernels(Isa isa) { return ISOGRID_PICK(isa, four_bit_table); }
const FourBitKernels& four_bit_kernels() { return four_bit_kernels(best_isa()); }

const Int8RowKernels& int8_row_kernels(Isa isa) { return ISOGRID_PICK(isa, int8_row_table); }
const Int8RowKernels& int8_row_kernels() { return int8_row_kernels(best_isa()); }

const MatvecKernels& matvec_kernels(Isa isa) { return ISOGRID_PICK(isa, matvec_table); }
const MatvecKernels& matvec_kernels() { return matvec_kernels(best_isa()); }

const CrossEntropyKernels& cross_entropy_kernels(Isa isa) {
  return ISOGRID_PICK(isa, cross_entropy_table);
}
const CrossEntropyKernels& cross_entropy_kernels() { return cross_entropy_kernels(best_isa()); }

const DropoutKernels& dropout_kernels(Isa isa) { return ISOGRID_PICK(isa, dropout_table); }
const DropoutKernels& dropout_kernels() { return dropout_kernels(best_isa()); }

const OptimizerKernels& optimizer_kernels(Isa isa) { return ISOGRID_PICK(isa, optimizer_table); }
const OptimizerKernels& optimizer_kernels() { return optimizer_kernels(best_isa()); }

const PackedGroupKernels& packed_group_kernels(Isa isa) {
  return ISOGRID_PICK(isa, packed_group_table);
}
const PackedGroupKernels& packed_group_kernels() { return packed_group_kernels(best_isa()); }

const AttentionKernels& attention_kernels(Isa isa) {
  return ISOGRID_PICK_ATTENTION(isa, attention_table);
}
const AttentionKernels& attention_kernels() { return attention_kernels(best_isa()); }

const AttentionBackwardKernels& attention_backward_kernels(Isa isa) {
  return ISOGRID_PICK_ATTENTION(isa, attention_backward_table);
}
const AttentionBackwardKernels& attention_backward_kernels() {
  return attention_backward_kernels(best_isa());
}

}  // namespace isogrid::kernels
