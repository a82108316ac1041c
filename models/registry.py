"""The registry: MLflow as the record of every training run and every version that came out of one.

In:   what was decided about a version, and its weight file.
Out:  a run (parameters, figures, the reason) and a registered model version with the weights as its artifact.
Nothing waits for MLflow to serve: the `models` topic tells processors what to load, this is the record for people.
Calls block (the first one migrates the database, seconds): callers on an event loop use a thread.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from models.weights import SUFFIX, path_of
from twin.errors import LivetwinError

if TYPE_CHECKING:
    from mlflow import MlflowClient

log = logging.getLogger(__name__)

EXPERIMENT: Final = "livetwin"
_ENVIRONMENT: Final = {
    "MLFLOW_DISABLE_TELEMETRY": "true",  # nothing is reported to anyone
    "MLFLOW_CONFIGURE_LOGGING": "false",  # one logging set-up a process
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",  # the trainer tries again by itself
}


class RegistryUnavailable(LivetwinError):
    """MLflow can't be written now (server away, database locked, disk full); trying again later can help."""

    retriable = True


@dataclass(frozen=True, slots=True)
class RunRecord:
    """One training run, as people will look it up."""

    name: str
    type: str
    version: str
    uri: str  # "" when training failed before there were weights
    sha256: str
    contract: str
    base: str | None
    decision: str
    why: str
    time_ns: int  # wall clock of the decision
    figures: Mapping[str, float] = field(default_factory=dict)
    params: Mapping[str, str | int | float] = field(default_factory=dict)
    stages: Mapping[str, str] = field(default_factory=dict)  # stage → what it said


class Registry:
    """MLflow tracking and model registry: the server of `MLFLOW_TRACKING_URI`, or a sqlite file under the data folder.

    One call at a time (a lock); safe from any thread.
    """

    def __init__(self, home: Path, *, tracking_uri: str | None = None) -> None:
        self._folder = (home / "mlflow").absolute()
        given = tracking_uri or os.environ.get("MLFLOW_TRACKING_URI")
        self.tracking_uri = given or f"sqlite:///{self._folder / 'mlflow.db'}"
        self._local = not given
        self._lock = threading.Lock()
        self._client: MlflowClient | None = None
        self._experiment = ""

    def record(self, run: RunRecord) -> str:
        """Write one run and, where there are weights, its model version; the run's id.

        Idempotent by (name, version): a run recorded before is found again and brought up to date.

        Raises:
            RegistryUnavailable: nothing is lost, the record can be written later.
        """
        with self._lock:
            try:
                client = self._open()
                run_id = self._find(client, run) or self._write(client, run)
                self._decide(client, run, run_id)
            except Exception as error:
                self._client = None
                raise RegistryUnavailable(
                    f"run of {run.name} {run.version} not recorded at {self.tracking_uri}: {_first_line(error)}; "
                    "it will be tried again, serving goes on"
                ) from error
            return run_id

    def attach(self, run_id: str, files: Mapping[str, str]) -> None:
        """Write texts into the run's artifacts, by name; one that is there is replaced.

        Raises:
            RegistryUnavailable: as `record`.
        """
        with self._lock:
            try:
                client = self._open()
                for name, content in files.items():
                    client.log_text(run_id, content, name)
            except Exception as error:
                self._client = None
                raise RegistryUnavailable(
                    f"{', '.join(files)} of run {run_id} not recorded at {self.tracking_uri}: "
                    f"{_first_line(error)}; serving goes on"
                ) from error

    def set_aliases(self, name: str, aliases: Mapping[str, str | None]) -> None:
        """Point MLflow's aliases (`champion`, `previous`, …) at versions of ours; None removes one.

        Raises:
            RegistryUnavailable: as `record`.
        """
        with self._lock:
            try:
                client = self._open()
                for alias, version in aliases.items():
                    number = self._number(client, name, version) if version else None
                    if number:
                        client.set_registered_model_alias(name, alias, number)
                    elif self._exists(client, name):
                        client.delete_registered_model_alias(name, alias)
            except Exception as error:
                self._client = None
                raise RegistryUnavailable(
                    f"aliases of {name} not recorded at {self.tracking_uri}: {_first_line(error)}; serving goes on"
                ) from error

    def drop_weights(self, run_id: str) -> None:
        """Delete the run's copy of its weights, where the artifact store is ours; the run itself stays.

        Raises:
            RegistryUnavailable: as `record`.
        """
        if not self._local:
            return
        with self._lock:
            try:
                folder = path_of(self._open().get_run(run_id).info.artifact_uri)
                for file in folder.glob(f"*{SUFFIX}"):
                    file.unlink(missing_ok=True)
            except Exception as error:
                if getattr(error, "error_code", "") == "RESOURCE_DOES_NOT_EXIST":
                    return  # somebody has removed the run
                self._client = None
                raise RegistryUnavailable(
                    f"weights of run {run_id} not dropped at {self.tracking_uri}: {_first_line(error)}; serving goes on"
                ) from error

    def _open(self) -> MlflowClient:
        if self._client is not None:
            return self._client
        for variable, value in _ENVIRONMENT.items():
            os.environ.setdefault(variable, value)
        log.info("registry-opening", extra={"uri": self.tracking_uri, "note": "the first time takes some seconds"})
        logging.getLogger("alembic").setLevel(logging.WARNING)  # a line for each of sixty migrations
        from mlflow import MlflowClient  # seconds, so only where it is used

        if self._local:
            self._folder.mkdir(parents=True, exist_ok=True)
        client = MlflowClient(tracking_uri=self.tracking_uri, registry_uri=self.tracking_uri)
        found = client.get_experiment_by_name(EXPERIMENT)
        location = (self._folder / "artifacts").as_uri() if self._local else None
        self._experiment = found.experiment_id if found else client.create_experiment(EXPERIMENT, artifact_location=location)
        self._client = client
        log.info("registry-open", extra={"uri": self.tracking_uri})
        return client

    def _find(self, client: MlflowClient, run: RunRecord) -> str | None:
        same = f"tags.`livetwin.model` = '{run.name}' AND tags.`livetwin.version` = '{run.version}'"
        found = client.search_runs([self._experiment], f"{same} AND tags.`livetwin.sha256` = '{run.sha256}'", max_results=1)
        return str(found[0].info.run_id) if found else None

    def _write(self, client: MlflowClient, run: RunRecord) -> str:
        from mlflow.entities import Metric, Param

        time_ms = run.time_ns // 1_000_000
        started = client.create_run(self._experiment, start_time=time_ms, run_name=f"{run.name} {run.version}")
        run_id = str(started.info.run_id)
        params: dict[str, Any] = {"type": run.type, "contract": run.contract, "base": run.base or "none", **run.params}
        client.log_batch(
            run_id,
            metrics=[
                Metric(figure.replace("<", "lt "), float(value), time_ms, 0) for figure, value in sorted(run.figures.items())
            ],
            params=[Param(key, str(value)) for key, value in sorted(params.items())],
        )
        if run.uri:
            if path_of(run.uri).is_file():  # pruned where this registry was away for long
                client.log_artifact(run_id, str(path_of(run.uri)))
            if not self._exists(client, run.name):
                client.create_registered_model(run.name, description=f"Versions for twins of type {run.type}")
            source = f"{started.info.artifact_uri}/{path_of(run.uri).name}"
            client.create_model_version(run.name, source, run_id, tags={"livetwin.version": run.version, "sha256": run.sha256})
        # last, so that a run that was cut off half-way is not found but written again
        for tag, value in (("livetwin.model", run.name), ("livetwin.version", run.version), ("livetwin.sha256", run.sha256)):
            client.set_tag(run_id, tag, value)
        client.set_terminated(run_id, "FINISHED" if run.uri else "FAILED", end_time=time_ms)
        return run_id

    def _decide(self, client: MlflowClient, run: RunRecord, run_id: str) -> None:
        client.set_tag(run_id, "decision", run.decision)
        client.set_tag(run_id, "why", run.why[:4000])
        for stage, said in run.stages.items():
            client.set_tag(run_id, f"gate.{stage}", said[:4000])
        number = self._number(client, run.name, run.version) if run.uri else None
        if number:
            client.set_model_version_tag(run.name, number, "decision", run.decision)
            client.update_model_version(run.name, number, description=run.why[:4000])

    def _exists(self, client: MlflowClient, name: str) -> bool:
        return bool(client.search_registered_models(f"name = '{name}'", max_results=1))

    def _number(self, client: MlflowClient, name: str, version: str) -> str | None:
        """MLflow numbers versions by itself; ours is a tag."""
        found = client.search_model_versions(f"name = '{name}' AND tags.`livetwin.version` = '{version}'", max_results=1)
        return str(found[0].version) if found else None


def _first_line(error: BaseException) -> str:
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0]}" if text else type(error).__name__
