"""How the metric source knows the versions of a model: it depends on what serves them.

On TF Serving a version is a cluster of Envoy, and stable has a second one, the control cluster, whose comparison with the first
tells how much two groups of one version differ. On Vertex AI a version is a deployed model, and there is no second group.
"""

from __future__ import annotations

from dataclasses import dataclass

from airflow_model_ops.config.model_file import ModelIdentity
from airflow_model_ops.core.checks import Arm, Arms
from airflow_model_ops.core.versioning import Version


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionArms:
    """Names versions for the metric source.

    :param on_vertex: Whether they are served by Vertex AI.
    """

    on_vertex: bool = False

    def arm(self, model: str, version: Version) -> Arm:
        """Return how the metric source knows a version: what it is in the router's metrics, its number and its name."""
        from airflow_model_ops.adapters.serving.envoy_spec import cluster_name
        from airflow_model_ops.adapters.serving.vertex_names import deployed_model_id

        cluster = deployed_model_id(version) if self.on_vertex else cluster_name(model=model, number=version.number)
        return Arm(version_number=str(version.number), cluster=cluster, version_name=version.name)

    def control(self, model: str, version: Version) -> Arm | None:
        """Return how it knows stable's second group: the same version, over its control cluster; ``None`` without one."""
        from airflow_model_ops.adapters.serving.envoy_spec import cluster_name

        if self.on_vertex:
            return None
        cluster = cluster_name(model=model, number=version.number, control=True)
        return Arm(version_number=str(version.number), cluster=cluster, version_name=version.name)

    def compared(self, model: str, canary: Version, stable: Version | None) -> Arms:
        """Return how it knows the versions that are compared, and stable's second group."""
        return Arms(
            canary=self.arm(model, canary),
            stable=self.arm(model, stable) if stable else None,
            control=self.control(model, stable) if stable else None,
        )

    def guarded(self, model: str, stable: Version) -> Arms:
        """Return how it knows the stable version when it is looked at by itself, in all its groups."""
        return Arms(canary=self.arm(model, stable), control=self.control(model, stable))


def arms_at(identity: ModelIdentity) -> VersionArms:
    """Return how the metric source knows the versions of a model."""
    return VersionArms(on_vertex=identity.target.vertex_ai is not None)
