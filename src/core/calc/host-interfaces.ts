// Which host endpoint guards which interface of the node (Calico's resolveHostEndpoints): the interface that is named; or,
// when only addresses are given, every interface that has one of them; `*` for all others. Of several the first by name.
import type { Change } from '../base/change.ts'
import type { Addr } from '../net/addr.ts'
import { EVERY_INTERFACE } from '../resources/kinds/host-endpoint.ts'
import type { HostEndpoint } from '../resources/resource.ts'
import type { NodeSettings } from './intent.ts'

/** The node's interfaces with their addresses: a fact of the kernel, not of the datastore. */
export type Interfaces = ReadonlyMap<string, readonly Addr[]>
export type InterfaceChange = Change<string, readonly Addr[]>

/**
 * Interface name (or `*`) → endpoint. An interface that is named need not be there: its policy is in force before it comes.
 * Interfaces of pods, by their prefixes, have none.
 */
export function guardedInterfaces(
  endpoints: Iterable<HostEndpoint>,
  { node, interfaces, settings }: { node: string; interfaces: Interfaces; settings: NodeSettings },
): Map<string, HostEndpoint> {
  const found = new Map<string, HostEndpoint>()
  const mine = [...endpoints].filter(h => h.spec.node === node)
  mine.sort((a, b) => (a.metadata.name < b.metadata.name ? -1 : 1))
  const claim = (name: string, endpoint: HostEndpoint): void => {
    if (!settings.interfacePrefixes.some(p => name.startsWith(p)) && !found.has(name)) found.set(name, endpoint)
  }
  for (const endpoint of mine) {
    const { interfaceName, expectedIPs = [] } = endpoint.spec
    if (interfaceName !== undefined) claim(interfaceName, endpoint)
    else {
      for (const [name, addresses] of interfaces) {
        if (!isExcluded(name, settings) && addresses.some(a => expectedIPs.includes(a))) claim(name, endpoint)
      }
    }
  }
  return new Map([...found].sort(([a], [b]) => (a < b ? -1 : 1)))
}

const isExcluded = (name: string, { excludedInterfaces }: NodeSettings): boolean =>
  excludedInterfaces.some(e => (/^\/.+\/$/.test(e) ? new RegExp(e.slice(1, -1)).test(name) : e === name))

/** Untracked policy would take the connections of every interface away: with `*` it is passed over. */
export const hasHook = (interfaceName: string, hook: string): boolean =>
  !(interfaceName === EVERY_INTERFACE && hook === 'untracked')
