// The Kubernetes Node of this machine, as far as its agent reads and writes it directly.
import { type Addr, parseAddr } from '../../core/net/addr.ts'
import type { ApiClient } from './api-client.ts'

type NodeStatus = {
  readonly addresses?: readonly { readonly type: string; readonly address: string }[]
  readonly conditions?: readonly { readonly type: string; readonly status: string }[]
}

const path = (node: string): string => `/api/v1/nodes/${encodeURIComponent(node)}`

const readStatus = async (api: ApiClient, node: string): Promise<NodeStatus> => {
  const { status } = JSON.parse(await api.request('GET', path(node))) as { status?: NodeStatus }
  return status ?? {}
}

/** The InternalIPs that the kubelet, or whoever runs the cluster, gave the node. */
export async function readInternalIps(api: ApiClient, node: string): Promise<Addr[]> {
  const { addresses = [] } = await readStatus(api, node)
  return addresses.filter(({ type }) => type === 'InternalIP').flatMap(({ address }) => parseAddr(address) ?? [])
}

/**
 * Says that pods on this node have a network: the scheduler keeps them away from a node of which it is said that they have
 * none. The reason is the one that Calico gives. Nothing is written when it is said already.
 */
export async function putNetworkAvailable(api: ApiClient, node: string, now: Date): Promise<boolean> {
  const { conditions = [] } = await readStatus(api, node)
  if (conditions.some(({ type, status }) => type === 'NetworkUnavailable' && status === 'False')) return false
  const at = now.toISOString().replace(/\.\d+Z$/, 'Z')
  const condition = {
    type: 'NetworkUnavailable',
    status: 'False',
    reason: 'CalicoIsUp',
    message: 'gingham is running on this node',
    lastHeartbeatTime: at,
    lastTransitionTime: at,
  }
  await api.request('PATCH', `${path(node)}/status`, {
    // Conditions are merged by their type.
    contentType: 'application/strategic-merge-patch+json',
    body: JSON.stringify({ status: { conditions: [condition] } }),
  })
  return true
}
