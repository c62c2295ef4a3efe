// A pod cut to what an agent needs of it. An agent keeps all pods of a cluster, and a pod as the API server has it is ten to a
// hundred times as large.
import { isObject, type Json, type JsonObject } from '../ipam/json.ts'

const pick = (value: Json | undefined, names: readonly string[]): JsonObject =>
  isObject(value)
    ? Object.fromEntries(names.flatMap(name => (value[name] === undefined ? [] : [[name, value[name]]])))
    : {}

const METADATA = ['name', 'namespace', 'resourceVersion', 'deletionTimestamp', 'labels', 'annotations']
/** Annotations are kept when their domain is of networking; what other programs note on pods can be large. */
const ANNOTATIONS =
  /^(?:[a-z0-9.-]*\.)?(?:projectcalico\.org|cni\.cncf\.io|v1\.cni\.cncf\.io|kubernetes\.io|amazonaws\.com)\//

/** Repeat what the status says, once it says it. That they are empty tells that the pod is torn down. */
const ADDRESSES = ['cni.projectcalico.org/podIP', 'cni.projectcalico.org/podIPs']

function slimMetadata(value: Json | undefined, hasAddresses: boolean): JsonObject {
  // Which pod of its name it is matters to the plugin, while it has no address yet.
  const metadata = pick(value, hasAddresses ? METADATA : [...METADATA, 'uid'])
  const { annotations, ...rest } = metadata
  if (!isObject(annotations)) return rest
  const repeats = (name: string, text: Json): boolean => hasAddresses && text !== '' && ADDRESSES.includes(name)
  const kept = Object.entries(annotations).filter(([name, text]) => ANNOTATIONS.test(name) && !repeats(name, text))
  return kept.length > 0 ? { ...rest, annotations: Object.fromEntries(kept) } : rest
}

/** Containers that expose ports, and of those the ports alone. */
function slimContainers(value: Json | undefined): Json[] {
  if (!Array.isArray(value)) return []
  return value.flatMap(container => {
    const slim = pick(container, ['ports'])
    return slim.ports === undefined ? [] : [slim]
  })
}

export function slimPod(pod: JsonObject): JsonObject {
  const spec = isObject(pod.spec) ? pod.spec : {}
  const status = pick(pod.status, ['phase', 'podIP', 'podIPs'])
  const hasAddresses = Array.isArray(status.podIPs) && status.podIPs.length > 0
  const [containers, initContainers] = [slimContainers(spec.containers), slimContainers(spec.initContainers)]
  return {
    kind: 'Pod',
    apiVersion: 'v1',
    metadata: slimMetadata(pod.metadata, hasAddresses),
    spec: {
      ...pick(spec, ['nodeName', 'hostNetwork', 'serviceAccountName']),
      ...(containers.length > 0 ? { containers } : {}),
      ...(initContainers.length > 0 ? { initContainers } : {}),
    },
    status: hasAddresses ? pick(status, ['phase', 'podIPs']) : status,
  }
}
