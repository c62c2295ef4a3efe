// A Kubernetes pod as a workload: found in the datastore, its wishes read from annotations, its addresses written to them.
// Its endpoint is derived from the pod, so that nothing else is written.

import type { NetworkConfig } from '../../core/cni/config.ts'
import { CNI_ERROR, CniError, problemsError } from '../../core/cni/error.ts'
import { addressAnnotations, CONTAINER_ID, NO_ADDRESS, podWishes } from '../../core/cni/pod-wishes.ts'
import type { Attachment } from '../../core/cni/request.ts'
import { hostPrefix } from '../../core/net/prefix.ts'
import { interfaceName, podToEndpoint } from '../../core/resources/derive.ts'
import { keyOf, type Namespace, type Pod } from '../../core/resources/resource.ts'
import { ResourceError } from '../../io/store/resource-error.ts'
import { ahead, type CniDeps, isNotFound, type PodName, step, type Workload } from './cni-deps.ts'

/** A pod's annotations lose races against its other writers now and then. */
const PATCH_TRIES = 20

export async function findPod({ resources }: CniDeps, name: PodName): Promise<Pod | undefined> {
  try {
    return await resources.get('Pod', name)
  } catch (error) {
    if (isNotFound(error)) return undefined
    throw error
  }
}

async function findNamespace({ resources }: CniDeps, name: string): Promise<Namespace | undefined> {
  try {
    return await resources.get('Namespace', { name })
  } catch (error) {
    if (isNotFound(error)) return undefined
    throw error
  }
}

/** The pod that a container is of: what the agent follows may be an older one of its name, or not know where it runs. */
async function findPodOf(deps: CniDeps, name: PodName, uid: string | undefined): Promise<Pod | undefined> {
  const known = deps.knownPod?.(name)
  const isMeant = known !== undefined && known.metadata.uid === uid && known.spec.nodeName === deps.node
  return uid !== undefined && isMeant ? known : findPod(deps, name)
}

const isOvertaken = (error: unknown): boolean =>
  error instanceof ResourceError && ['conflict', 'not-found'].includes(error.code)

/** Empties the pod's address annotations if they are the container's: a newer container's stay. */
export async function withdrawPod(deps: CniDeps, name: PodName, containerId: string): Promise<void> {
  const applies = ({ metadata: { annotations } }: Pod): boolean =>
    annotations?.[CONTAINER_ID] === containerId &&
    Object.entries(NO_ADDRESS).some(([key, value]) => annotations[key] !== value)
  await step(`cannot empty the annotations of pod ${name.namespace}/${name.name}`, async () => {
    for (let tries = 1; ; tries++) {
      const known = tries === 1 ? deps.knownPod?.(name) : undefined
      const pod = known && applies(known) ? known : await findPod(deps, name)
      if (pod === undefined || !applies(pod)) return
      try {
        await deps.resources.annotate(pod, NO_ADDRESS, { ifUnchanged: true })
        return
      } catch (error) {
        if (!isOvertaken(error) || tries === PATCH_TRIES) throw error
      }
    }
  })
}

export const podInterface = ({ interfacePrefix }: CniDeps, { namespace, name }: PodName): string =>
  interfaceName(namespace, name, interfacePrefix)

type Asked = { readonly attachment: Attachment; readonly config: NetworkConfig }

/** The pod as a workload. Throws if it is not there, not for this node, or asks for what cannot be. */
export async function podWorkload(deps: CniDeps, name: PodName, asked: Asked): Promise<Workload> {
  const { attachment, config } = asked
  const title = `pod ${name.namespace}/${name.name}`
  const finding = ahead(findNamespace(deps, name.namespace))
  const pod = await step(`cannot read ${title}`, () => findPodOf(deps, name, attachment.args.podUid))
  if (pod === undefined) throw new CniError(CNI_ERROR.TRY_AGAIN, `${title} is not in the datastore`)
  const { nodeName, hostNetwork } = pod.spec
  if (nodeName !== deps.node) {
    const where = nodeName ? `is scheduled on ${nodeName}, not on ${deps.node}` : 'is not scheduled on any node'
    throw new CniError(CNI_ERROR.TRY_AGAIN, `${title} ${where}`)
  }
  if (hostNetwork) throw new CniError(CNI_ERROR.INVALID_CONFIG, `${title} uses the host's network`)
  const namespace = await step(`cannot read namespace ${name.namespace}`, () => finding)
  const wishes = podWishes({
    pod: pod.metadata.annotations,
    namespace: namespace?.metadata.annotations,
    config,
    ip: attachment.args.ip,
  })
  if (!wishes.ok) throw problemsError(CNI_ERROR.INVALID_CONFIG, `${title} asks for what cannot be`, wishes.problems)
  return {
    title,
    hostInterface: podInterface(deps, name),
    wishes: wishes.value,
    attributes: { pod: name.name, namespace: name.namespace },
    namespaceLabels: { ...namespace?.metadata.labels, 'projectcalico.org/name': name.namespace },
    publish: async addresses => {
      const set = addressAnnotations(attachment.containerId, addresses)
      const written = await step(`cannot write the annotations of ${title}`, async () => {
        try {
          return await deps.resources.annotate(pod, set)
        } catch (error) {
          throw isOvertaken(error) ? new CniError(CNI_ERROR.TRY_AGAIN, `${title} was deleted meanwhile`) : error
        }
      })
      const endpoint = podToEndpoint(written, deps.interfacePrefix ? { interfacePrefix: deps.interfacePrefix } : {})
      const told = endpoint?.spec.ipNetworks ?? []
      if (endpoint !== undefined && addresses.every(address => told.includes(hostPrefix(address))))
        return keyOf(endpoint)
      // A sandbox that is made anew: status.podIPs is of the one before, and the kubelet changes it only after this ADD.
      const endpointSays = told.join(', ') || 'no address'
      deps.log.warn(
        { pod: title, addresses, endpointSays },
        'the pod status has other addresses: policy follows it later',
      )
      return undefined
    },
    withdraw: () => withdrawPod(deps, name, attachment.containerId),
  }
}
