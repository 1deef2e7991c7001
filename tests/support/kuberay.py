"""A JSON schema of KubeRay's RayJob, of the fields that a person writes; what is unknown is forbidden.

Derived by hand from the types in `ray-operator/apis/ray/v1` (KubeRay 1.4 and 1.5) and Kubernetes' `core/v1`: names,
types, what is required, and the values that are enumerated.
"""

from __future__ import annotations

from typing import Any

STRING: dict[str, Any] = {"type": "string"}
INTEGER: dict[str, Any] = {"type": "integer"}
BOOLEAN: dict[str, Any] = {"type": "boolean"}
STRINGS: dict[str, Any] = {"type": "object", "additionalProperties": STRING}
ANY: dict[str, Any] = {}
QUANTITY: dict[str, Any] = {
    "type": ["string", "integer"],
    "pattern": r"^\d+(\.\d+)?(m|k|M|G|T|Ki|Mi|Gi|Ti)?$",
}


def record(*required: str, **fields: dict[str, Any]) -> dict[str, Any]:
    """An object with these fields and no others."""
    return {"type": "object", "properties": fields, "required": list(required), "additionalProperties": False}


def items(schema: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": schema, "minItems": 1}


METADATA = record(name=STRING, namespace=STRING, labels=STRINGS, annotations=STRINGS)
RESOURCES = record(
    requests={"type": "object", "additionalProperties": QUANTITY},
    limits={"type": "object", "additionalProperties": QUANTITY},
    claims=ANY,
)
CONTAINER = record(
    "name",
    name=STRING,
    image=STRING,
    command=items(STRING),
    args=items(STRING),
    workingDir=STRING,
    ports=items(
        record("containerPort", containerPort=INTEGER, name=STRING, protocol=STRING, hostPort=INTEGER, hostIP=STRING)
    ),
    env=items(record("name", name=STRING, value=STRING, valueFrom=ANY)),
    envFrom=ANY,
    resources=RESOURCES,
    volumeMounts=items(record("name", "mountPath", name=STRING, mountPath=STRING, readOnly=BOOLEAN, subPath=STRING)),
    imagePullPolicy={"enum": ["Always", "Never", "IfNotPresent"]},
    livenessProbe=ANY,
    readinessProbe=ANY,
    startupProbe=ANY,
    lifecycle=ANY,
    securityContext=ANY,
)
VOLUME = record(
    "name",
    name=STRING,
    persistentVolumeClaim=record("claimName", claimName=STRING, readOnly=BOOLEAN),
    emptyDir=ANY,
    configMap=ANY,
    secret=ANY,
    hostPath=ANY,
    nfs=ANY,
)
SELECTOR = record(matchLabels=STRINGS, matchExpressions=ANY)
POD_AFFINITY_TERM = record(
    "topologyKey", topologyKey=STRING, labelSelector=SELECTOR, namespaces=items(STRING), namespaceSelector=SELECTOR
)
POD_ANTI_AFFINITY = record(
    requiredDuringSchedulingIgnoredDuringExecution=items(POD_AFFINITY_TERM),
    preferredDuringSchedulingIgnoredDuringExecution=ANY,
)
POD = record(
    "containers",
    containers=items(CONTAINER),
    initContainers=items(CONTAINER),
    volumes=items(VOLUME),
    affinity=record(nodeAffinity=ANY, podAffinity=ANY, podAntiAffinity=POD_ANTI_AFFINITY),
    nodeSelector=STRINGS,
    tolerations=ANY,
    topologySpreadConstraints=ANY,
    serviceAccountName=STRING,
    imagePullSecrets=ANY,
    priorityClassName=STRING,
    restartPolicy={"enum": ["Always", "OnFailure", "Never"]},
    terminationGracePeriodSeconds=INTEGER,
    runtimeClassName=STRING,
    securityContext=ANY,
    schedulerName=STRING,
    hostNetwork=BOOLEAN,
    dnsPolicy=STRING,
)
TEMPLATE = record("spec", metadata=METADATA, spec=POD)
HEAD = record(
    "rayStartParams",
    "template",
    rayStartParams=STRINGS,
    template=TEMPLATE,
    serviceType={"enum": ["ClusterIP", "NodePort", "LoadBalancer", "ExternalName"]},
    headService=ANY,
    enableIngress=BOOLEAN,
    labels=STRINGS,
    resources=STRINGS,
)
WORKERS = record(
    "groupName",
    "minReplicas",
    "maxReplicas",
    "rayStartParams",
    "template",
    groupName=STRING,
    replicas=INTEGER,
    minReplicas=INTEGER,
    maxReplicas=INTEGER,
    numOfHosts=INTEGER,
    idleTimeoutSeconds=INTEGER,
    rayStartParams=STRINGS,
    template=TEMPLATE,
    scaleStrategy=ANY,
    suspend=BOOLEAN,
    labels=STRINGS,
    resources=STRINGS,
)
CLUSTER = record(
    "headGroupSpec",
    headGroupSpec=HEAD,
    workerGroupSpecs=items(WORKERS),
    rayVersion={"type": "string", "pattern": r"^\d+\.\d+\.\d+$"},
    authOptions=record("mode", mode={"enum": ["disabled", "token"]}, secretName=STRING),
    enableInTreeAutoscaling=BOOLEAN,
    autoscalerOptions=ANY,
    gcsFaultToleranceOptions=ANY,
    headServiceAnnotations=STRINGS,
    managedBy=STRING,
    suspend=BOOLEAN,
)
RAY_JOB: dict[str, Any] = record(
    "apiVersion",
    "kind",
    "metadata",
    "spec",
    apiVersion={"const": "ray.io/v1"},
    kind={"const": "RayJob"},
    metadata=METADATA,
    spec=record(
        entrypoint=STRING,
        rayClusterSpec=CLUSTER,
        submissionMode={"enum": ["K8sJobMode", "HTTPMode", "InteractiveMode", "SidecarMode"]},
        submitterPodTemplate=TEMPLATE,
        submitterConfig=record(backoffLimit=INTEGER),
        backoffLimit=INTEGER,
        activeDeadlineSeconds=INTEGER,
        shutdownAfterJobFinishes=BOOLEAN,
        ttlSecondsAfterFinished=INTEGER,
        clusterSelector=STRINGS,
        deletionStrategy=ANY,
        entrypointNumCpus={"type": "number"},
        entrypointNumGpus={"type": "number"},
        entrypointResources=STRING,
        jobId=STRING,
        managedBy=STRING,
        metadata=STRINGS,
        runtimeEnvYAML=STRING,
        suspend=BOOLEAN,
    ),
)
