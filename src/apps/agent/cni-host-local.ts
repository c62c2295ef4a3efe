// Addresses that the reference plugin `host-local` gives out of ranges of the node's own: it keeps them in files, by
// container and interface, and we ask it as a container runtime would. Nothing of them is in the datastore's IPAM.
import { CNI_ERROR, CniError, problemsError } from '../../core/cni/error.ts'
import { ANY_NETWORK, asksForNodeNetworks, HOST_LOCAL, hostLocalConfig } from '../../core/cni/host-local.ts'
import type { Attachment, CniRequest } from '../../core/cni/request.ts'
import { addressOf, decodeResult } from '../../core/cni/result.ts'
import { type Addr, FAMILIES, familyOf } from '../../core/net/addr.ts'
import { runDelegate } from '../../io/cni/delegate.ts'
import { addressesOf } from '../../io/cni/pod-network.ts'
import type { AddressSource } from './cni-addresses.ts'
import { type CniDeps, isNotFound, step } from './cni-deps.ts'

type Asked = Exclude<CniRequest, { readonly command: 'VERSION' }>
type OfContainer = Extract<Asked, { readonly attachment: Attachment }>
type Verb = Asked['command']

/** The networks that the cluster gave to this node for its pods. */
async function nodeNetworks({ resources, node }: CniDeps): Promise<readonly string[]> {
  try {
    return (await resources.get('Node', { name: node })).status.podCIDRs ?? []
  } catch (error) {
    if (isNotFound(error)) return []
    throw error
  }
}

/** One call of the plugin about the request's network, and its container if it has one. */
async function ask(request: Asked, command: Verb, given: Parameters<typeof hostLocalConfig>[1]): Promise<unknown> {
  const config = hostLocalConfig(request.config.document, given)
  if (!config.ok) {
    throw problemsError(CNI_ERROR.INVALID_CONFIG, 'the network configuration does not fit the node', config.problems)
  }
  const attachment = 'attachment' in request ? request.attachment : undefined
  const variables = {
    CNI_COMMAND: command,
    CNI_CONTAINERID: attachment?.containerId ?? '',
    CNI_IFNAME: attachment?.ifName ?? '',
    CNI_NETNS: attachment?.netns ?? '',
    // An address that they name is in the configuration by now.
    CNI_ARGS: 'IgnoreUnknown=1',
  }
  return runDelegate({ plugin: HOST_LOCAL, pluginPath: request.pluginPath, variables, config: config.value })
}

/** GC and STATUS, which are about the network as a whole: the plugin has its own part in them. */
export async function askAboutNetwork(deps: CniDeps, request: Asked): Promise<void> {
  if (request.config.ipam !== HOST_LOCAL) return
  await ask(request, request.command, { networks: await networksFor(deps, request) })
}

const networksFor = async (deps: CniDeps, { config }: Asked): Promise<readonly string[]> =>
  asksForNodeNetworks(config.document) ? step(`cannot read node ${deps.node}`, () => nodeNetworks(deps)) : ANY_NETWORK

/** `handle` is whose the container's link is. */
export function hostLocalSource(deps: CniDeps, request: OfContainer, handle: string): AddressSource {
  // It goes by the container alone.
  const release = () => ask(request, 'DEL', { networks: ANY_NETWORK })
  return {
    begin: () => async workload => {
      const { wishes, hostInterface } = workload
      const networks = await networksFor(deps, request)
      const requested = wishes.addresses.length > 0 ? wishes.addresses : addressesOf(hostInterface, handle, deps)
      // It refuses a container that has addresses already, which an ADD that nobody finished may have left.
      await release()
      return addressesIn(await ask(request, 'ADD', { networks, requested }), request.version)
    },
    release,
    // It tells nobody what it has given.
    held: async () => [],
    faults: async () => {
      try {
        await ask(request, 'CHECK', { networks: await networksFor(deps, request) })
        return []
      } catch (error) {
        if (error instanceof CniError) return [error.message]
        throw error
      }
    },
  }
}

function addressesIn(printed: unknown, version: OfContainer['version']): readonly Addr[] {
  const result = decodeResult(printed, version)
  if (!result.ok) throw problemsError(CNI_ERROR.DECODE, `what ${HOST_LOCAL} printed is not a result`, result.problems)
  const addresses = result.value.ips.map(addressOf)
  const byFamily = FAMILIES.map(family => addresses.filter(address => familyOf(address) === family))
  if (addresses.length === 0) throw new CniError(CNI_ERROR.INVALID_CONFIG, `${HOST_LOCAL} gave no address`)
  for (const given of byFamily) {
    if (given.length <= 1) continue
    const message = `${HOST_LOCAL} gave ${given.join(' and ')}: a pod has one address of a family`
    throw new CniError(CNI_ERROR.INVALID_CONFIG, message, 'give ipam.ranges one set for each family')
  }
  return byFamily.flat()
}
