"""Hands the figures of a run to wandb, trackio and mlflow, in a process of its own beside the trainer.

The trainer carries this text inside and runs it with `python3 -c`; standard input is a socket. Both sides write one
JSON object a line:

  in   {"do": "start", "trackers": [...], "optional": false, "project", "experiment", "run_name", "run_id", "space",
        "folder", "config"}, then {"do": "log", "step", "values"} any number of times, then {"do": "finish", "ok"}
  out  {"missing": [package, ...]} or {"failed": tracker, "why"} or {"started": tracker, "version", "where"};
       {"ready": true} once all have been tried; {"finished": true}

The end of the input without "finish" means that the trainer died: runs are then closed as failed.
"""

import sys

sys.path[:] = [path for path in sys.path if path]  # never a module that happens to lie in the current folder

import importlib.metadata  # noqa: E402
import importlib.util  # noqa: E402
import json  # noqa: E402
import os  # noqa: E402
import socket  # noqa: E402

PACKAGES = {"wandb": ["wandb"], "trackio": ["trackio"], "mlflow": ["mlflow", "mlflow-skinny"]}


def version_of(tracker):
    """The installed version, or None; nothing is imported."""
    if importlib.util.find_spec(tracker) is None:
        return None
    for package in PACKAGES[tracker]:
        try:
            return importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            pass
    return None  # a folder of that name, not the package


class Wandb:
    AXIS = "train/global_step"

    def __init__(self, start):
        os.environ.setdefault("WANDB_SILENT", "true")
        import wandb
        folder = os.environ.get("WANDB_DIR") or start["folder"]
        os.makedirs(folder, exist_ok=True)
        self.run = wandb.init(
            project=start["project"] or os.environ.get("WANDB_PROJECT") or "isogrid", name=start["run_name"],
            group=start["experiment"], id=start["run_id"], resume="allow", dir=folder, config=start["config"],
            settings=wandb.Settings(disable_git=True, disable_code=True))
        # Steps are values, not wandb's own counter: that one refuses to go back when a run is resumed.
        self.run.define_metric(self.AXIS)
        self.run.define_metric("*", step_metric=self.AXIS)
        self.where = getattr(self.run, "url", None) or self.run.dir

    def log(self, step, values):
        self.run.log({**values, self.AXIS: step})

    def finish(self, ok):
        self.run.finish(exit_code=0 if ok else 1)


class Trackio:
    def __init__(self, start):
        import trackio
        self.trackio = trackio
        project = start["project"] or os.environ.get("TRACKIO_PROJECT") or "isogrid"
        trackio.init(project=project, name=start["run_name"], group=start["experiment"], space_id=start["space"],
                     config=start["config"], resume="allow", embed=False)
        self.where = start["space"] or f"trackio show --project {project}"

    def log(self, step, values):
        self.trackio.log(values, step=step)

    def finish(self, ok):
        self.trackio.finish()


class Mlflow:
    def __init__(self, start):
        # The slim package has no database; its files then lie beside the run.
        if not os.environ.get("MLFLOW_TRACKING_URI") and importlib.util.find_spec("sqlalchemy") is None:
            os.environ["MLFLOW_TRACKING_URI"] = "file:" + os.path.abspath(os.path.join(start["folder"], "mlruns"))
            os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
        import mlflow
        self.mlflow = mlflow
        name = start["experiment"] or start["project"] or os.environ.get("MLFLOW_EXPERIMENT_NAME") or "isogrid"
        mlflow.set_experiment(name)
        earlier = mlflow.search_runs(filter_string=f"tags.isogrid_run_id = '{start['run_id']}'", output_format="list")
        if earlier:
            self.run = mlflow.start_run(run_id=earlier[0].info.run_id, log_system_metrics=False)
        else:
            self.run = mlflow.start_run(run_name=start["run_name"], tags={"isogrid_run_id": start["run_id"]},
                                        log_system_metrics=False)
            settings = [(key, str(value)[:500]) for key, value in start["config"].items()]
            for first in range(0, len(settings), 100):
                mlflow.log_params(dict(settings[first:first + 100]))
        self.where = f"experiment {name} at {mlflow.get_tracking_uri()}"

    def log(self, step, values):
        self.mlflow.log_metrics(values, step=step)

    def finish(self, ok):
        self.mlflow.end_run("FINISHED" if ok else "FAILED")


KINDS = {"wandb": Wandb, "trackio": Trackio, "mlflow": Mlflow}


class Bridge:
    def __init__(self, channel):
        self.channel = channel
        self.running = {}

    def say(self, **message):
        try:
            self.channel.sendall((json.dumps(message) + "\n").encode())
        except OSError:
            pass  # nobody listens any more

    def attempt(self, tracker, action, *arguments):
        """One tracker's trouble is neither the trainer's nor the others'."""
        try:
            return action(*arguments)
        except (Exception, SystemExit) as error:
            self.running.pop(tracker, None)
            lines = [line for line in str(error).splitlines() if line.strip()]
            self.say(failed=tracker, why=(lines[0] if lines else type(error).__name__)[:500])
        return None

    def start(self, message):
        versions = {tracker: version_of(tracker) for tracker in message["trackers"]}
        missing = [tracker for tracker, version in versions.items() if version is None]
        if missing and not message["optional"]:
            self.say(missing=missing, python=sys.executable)
            return False
        for tracker, version in versions.items():
            made = self.attempt(tracker, KINDS[tracker], message) if version else None
            if made is not None:
                self.running[tracker] = made
                self.say(started=tracker, version=version, where=str(made.where))
        self.say(ready=True)
        return True

    def log(self, step, values):
        for tracker, kind in list(self.running.items()):
            self.attempt(tracker, kind.log, step, values)

    def finish(self, ok):
        for tracker, kind in list(self.running.items()):
            self.attempt(tracker, kind.finish, ok)
        self.say(finished=True)

    def serve(self):
        for line in self.channel.makefile("r", encoding="utf-8"):
            message = json.loads(line)
            if message["do"] == "start" and not self.start(message):
                return
            if message["do"] == "log":
                self.log(message["step"], message["values"])
            if message["do"] == "finish":
                return self.finish(message["ok"])
        self.finish(False)


if __name__ == "__main__":
    inherited = socket.socket(fileno=os.dup(0))
    # What the packages read or write by themselves is not meant for the trainer.
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    Bridge(inherited).serve()
