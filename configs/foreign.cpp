#include "configs/foreign.h"

namespace isogrid {
namespace {

struct ForeignRow {
  Group group;
  std::string_view why;
  std::vector<std::string_view> names;
};

const std::vector<ForeignRow>& hint_rows() {
  static const std::vector<ForeignRow> rows = {
      {Group::model,
       "attention, norms and loss are fused here as it is",
       {"flash_attn", "attn_implementation", "enable_liger_kernel", "use_liger_kernel",
        "liger_kernel_config", "use_unsloth", "use_unsloth_gc", "use_v1_kernels", "sdp_attention",
        "flash_attention"}},
      {Group::model,
       "there is nothing to compile at run time",
       {"torch_compile", "torch_compile_backend", "torch_compile_mode"}},
      {Group::model,
       "weights are read from the mapped file, tensor by tensor",
       {"low_cpu_mem_usage", "use_safetensors", "offload_folder", "device_map",
        "bnb_4bit_quant_storage"}},
      {Group::model, "code inside a model folder is never run", {"trust_remote_code"}},
      {Group::model, "the one tokenizer here is the fast one", {"use_fast_tokenizer", "use_fast"}},
      {Group::model,
       "the trainer opens no network connection",
       {"hf_hub_token", "ms_hub_token", "om_hub_token", "hub_token", "token", "use_auth_token"}},
      {Group::quantisation,
       "packed weights have one kernel here",
       {"gptq_use_exllama", "gptq_disable_exllama", "use_exllama", "disable_exllama"}},
      {Group::generation,
       "the cache of keys and values is always used",
       {"use_cache", "use_kv_cache"}},
      {Group::data,
       "rows are tokenised by all threads and mapped from disk",
       {"preprocessing_num_workers", "dataloader_num_workers", "dataloader_pin_memory",
        "dataloader_persistent_workers", "dataloader_prefetch_factor",
        "dataloader_multiprocessing_context", "data_shared_file_system", "remove_unused_columns",
        "dataset_num_proc", "dataloader_in_order"}},
      {Group::training,
       "processes find each other with time-outs of their own",
       {"ddp_timeout", "ddp_find_unused_parameters", "ddp_bucket_cap_mb", "ddp_broadcast_buffers",
        "ddp_static_graph", "ddp_backend", "local_rank", "log_on_each_node", "save_on_each_node",
        "log_level_replica"}},
      {Group::training,
       "blocks are recomputed in one way only",
       {"use_reentrant_gc", "gradient_checkpointing_kwargs", "activation_checkpointing_kwargs"}},
      {Group::training,
       "memory is planned before the first step",
       {"torch_empty_cache_steps", "skip_memory_metrics"}},
      {Group::saving,
       "a bar on a terminal, plain lines elsewhere",
       {"disable_tqdm", "print_param_status", "logging_strategy"}},
      {Group::saving, "weights are always written as safetensors", {"save_safetensors"}},
      {Group::saving,
       "evaluation never holds logits whole",
       {"eval_accumulation_steps", "prediction_loss_only", "eval_do_concat_batches",
        "eval_use_gather_object", "batch_eval_metrics"}},
  };
  return rows;
}

const std::vector<ForeignRow>& absent_rows() {
  static const std::vector<ForeignRow> rows = {
      {Group::training,
       "sharding over processes is not built yet",
       {"deepspeed", "fsdp", "fsdp_config", "fsdp_transformer_layer_cls_to_wrap",
        "accelerator_config", "parallelism_config", "dist_config", "cp_size", "cp_mode"}},
      {Group::training,
       "runs are started by torchrun, Slurm or Kubernetes, not by Ray",
       {"ray_num_workers", "ray_init_kwargs", "ray_run_name", "ray_storage_path",
        "ray_storage_filesystem", "resources_per_worker", "placement_strategy", "master_addr",
        "master_port"}},
      {Group::training,
       "another training back end",
       {"use_mca",
        "use_megatron_bridge",
        "megatron_bridge_args",
        "use_hyper_parallel",
        "hyper_parallel_args",
        "hyper_parallel_cp_size",
        "use_kt",
        "kernel_config",
        "kt_config",
        "kt_cpu_activation",
        "kt_weight_path",
        "kt_non_expert_weight_path",
        "kt_expert_checkpoint_path",
        "kt_use_lora_experts",
        "kt_lora_expert_num",
        "kt_lora_expert_intermediate_size",
        "tensor_model_parallel_size",
        "pipeline_model_parallel_size",
        "context_parallel_size",
        "expert_model_parallel_size",
        "sequence_parallel",
        "use_distributed_optimizer",
        "overlap_param_gather",
        "overlap_grad_reduce",
        "bias_activation_fusion",
        "apply_rope_fusion"}},
      {Group::training,
       "no such profiler; see log_level: debug",
       {"enable_torch_profiler", "profiler_output_dir", "profile_modules", "profiler_wait_steps",
        "profiler_warmup_steps", "profiler_active_steps", "profiler_repeat",
        "profiler_record_shapes", "profiler_profile_memory", "profiler_with_stack", "debug"}},
      {Group::finetuning,
       "orthogonal finetuning is not built",
       {"oft_rank", "oft_block_size", "oft_target", "module_dropout"}},
      {Group::finetuning,
       "pictures, sounds and films are not read",
       {"freeze_vision_tower", "freeze_multi_modal_projector", "freeze_language_model"}},
      {Group::data,
       "pictures, sounds and films are not read",
       {"image_max_pixels", "image_min_pixels", "image_do_pan_and_scan", "crop_to_patches",
        "video_max_pixels", "video_min_pixels", "video_fps", "video_maxlen", "use_audio_in_video",
        "audio_sampling_rate"}},
      {Group::model,
       "it would change the architecture",
       {"mixture_of_depths", "moe_aux_loss_coef"}},
      {Group::model,
       "new tokens start from the mean row",
       {"new_special_tokens_config", "init_special_tokens"}},
      {Group::model, "special tokens in a text are always recognised", {"split_special_tokens"}},
      {Group::quantisation,
       "every column is quantised alike",
       {"llm_int8_threshold", "llm_int8_skip_modules", "llm_int8_enable_fp32_cpu_offload"}},
      {Group::tracking,
       "SwanLab is not among the trackers",
       {"use_swanlab", "swanlab_project", "swanlab_workspace", "swanlab_run_name", "swanlab_mode",
        "swanlab_api_key", "swanlab_logdir", "swanlab_lark_webhook_url", "swanlab_lark_secret"}},
      {Group::saving,
       "the run is written to one place at its end",
       {"hub_strategy", "hub_always_push", "hub_revision"}},
      {Group::optimizer, "not offered", {"optim_args", "optim_target_modules"}},
      {Group::saving,
       "evaluation computes as training does",
       {"bf16_full_eval", "fp16_full_eval", "include_for_metrics", "eval_num_beams"}},
      {Group::saving,
       "a checkpoint is resumed as a whole",
       {"restore_callback_states_from_checkpoint"}},
      {Group::data,
       "see group_by_length and disable_shuffling",
       {"train_sampling_strategy", "length_column_name", "label_names"}},
      {Group::tracking,
       "a board in a bucket or a static space is not written",
       {"trackio_bucket_id", "trackio_static_space_id"}},
      {Group::generation,
       "text is written by this program, not by a server",
       {"vllm_maxlen", "vllm_gpu_util", "vllm_enforce_eager", "vllm_max_lora_rank", "vllm_config",
        "sglang_maxlen", "sglang_mem_fraction", "sglang_tp_size", "sglang_config",
        "sglang_lora_backend"}},
      {Group::model,
       "nested settings of LLaMA-Factory's v1 engine; write the flat keys instead",
       {"peft_config", "quant_config", "init_config", "optim_config", "model_class",
        "batching_strategy", "sample_backend"}},
  };
  return rows;
}

std::vector<ForeignKey> flattened() {
  std::vector<ForeignKey> keys;
  for (const ForeignRow& row : hint_rows())
    for (std::string_view name : row.names) keys.push_back({name, true, row.group, row.why});
  for (const ForeignRow& row : absent_rows())
    for (std::string_view name : row.names) keys.push_back({name, false, row.group, row.why});
  return keys;
}

}  // namespace

const std::vector<ForeignKey>& foreign_keys() {
  static const std::vector<ForeignKey> keys = flattened();
  return keys;
}

const ForeignKey* find_foreign(std::string_view name) {
  for (const ForeignKey& key : foreign_keys())
    if (key.name == name) return &key;
  return nullptr;
}

}  // namespace isogrid
