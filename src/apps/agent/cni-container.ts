// A container that is no Kubernetes pod, as a workload: its endpoint is a WorkloadEndpoint of the orchestrator `cni`, whose
// profile has the network's name, as Calico does. The profile is made with the first container: traffic within the
// network, and out of it.

import { sha1Hex } from '../../core/base/hash.ts'
import { INTERFACE_PREFIX } from '../../core/base/register.ts'
import type { NetworkConfig } from '../../core/cni/config.ts'
import { CNI_ERROR, problemsError } from '../../core/cni/error.ts'
import { podWishes } from '../../core/cni/pod-wishes.ts'
import type { Attachment } from '../../core/cni/request.ts'
import { hostPrefix } from '../../core/net/prefix.ts'
import type { ResourceKey } from '../../core/resources/cause.ts'
import { endpointName } from '../../core/resources/kinds/workload-endpoint.ts'
import { decodeResource, keyOf, type Resource } from '../../core/resources/resource.ts'
import { ResourceError } from '../../io/store/resource-error.ts'
import { type CniDeps, isNotFound, step, type Workload } from './cni-deps.ts'

/** Where Calico keeps endpoints that have no namespace of their own. */
const NAMESPACE = 'default'

export const containerInterface = ({ interfacePrefix = INTERFACE_PREFIX }: CniDeps, containerId: string): string =>
  interfacePrefix + sha1Hex(containerId).slice(0, 11)

function resource(document: object): Resource {
  const decoded = decodeResource(document)
  if (decoded.ok) return decoded.value
  throw problemsError(CNI_ERROR.INTERNAL, 'the container cannot be an endpoint', decoded.problems)
}

/** Members of a network carry its name as a label, by way of this profile. */
async function ensureProfile({ resources }: CniDeps, network: string): Promise<void> {
  const spec = {
    ingress: [{ action: 'Allow', source: { selector: `has(${network})` } }],
    egress: [{ action: 'Allow' }],
    labelsToApply: { [network]: '' },
  }
  try {
    await resources.create(
      resource({ kind: 'Profile', apiVersion: 'projectcalico.org/v3', metadata: { name: network }, spec }),
    )
  } catch (error) {
    if (!(error instanceof ResourceError && error.code === 'exists')) throw error
  }
}

type Asked = { readonly attachment: Attachment; readonly config: NetworkConfig }

export function containerWorkload(deps: CniDeps, { attachment, config }: Asked): Workload {
  const { containerId, ifName } = attachment
  const title = `container ${containerId}`
  const wishes = podWishes({ pod: undefined, namespace: undefined, config, ip: attachment.args.ip })
  if (!wishes.ok) throw problemsError(CNI_ERROR.INVALID_CONFIG, `${title} asks for what cannot be`, wishes.problems)
  const hostInterface = containerInterface(deps, containerId)
  return {
    title,
    hostInterface,
    wishes: wishes.value,
    attributes: {},
    namespaceLabels: {},
    publish: addresses =>
      step(`cannot write the endpoint of ${title}`, async (): Promise<ResourceKey> => {
        const identity = { orchestrator: 'cni', node: deps.node, containerID: containerId, endpoint: ifName }
        const spec = {
          ...identity,
          ipNetworks: addresses.map(hostPrefix),
          profiles: [config.name],
          interfaceName: hostInterface,
        }
        const metadata = { name: endpointName(identity), namespace: NAMESPACE }
        const endpoint = resource({ kind: 'WorkloadEndpoint', apiVersion: 'projectcalico.org/v3', metadata, spec })
        await ensureProfile(deps, config.name)
        await deps.resources.apply(endpoint)
        return keyOf(endpoint)
      }),
    withdraw: () => withdrawContainer(deps, containerId),
  }
}

/** Deletes the container's endpoints on this node. */
export async function withdrawContainer({ resources, node }: CniDeps, containerId: string): Promise<void> {
  const { items } = await resources.list('WorkloadEndpoint', { namespace: NAMESPACE })
  for (const endpoint of items) {
    const { orchestrator, containerID, node: where } = endpoint.spec
    if (orchestrator !== 'cni' || containerID !== containerId || where !== node) continue
    try {
      await resources.delete(keyOf(endpoint))
    } catch (error) {
      if (!isNotFound(error)) throw error
    }
  }
}
