// What the node enforces besides policy, from pools and settings: few resources, so they are simply read anew.
import { INTERFACE_PREFIX } from '../base/register.ts'
import { type Prefix, parsePrefix } from '../net/prefix.ts'
import { find, ofKind, type Snapshot } from '../resources/resource.ts'
import type { Intent, NodeSettings } from './intent.ts'

export type NodeFacts = Pick<Intent, 'settings' | 'masqueradePools' | 'allPools'>

/** FelixConfiguration `default`, overridden field by field by `node.<name>`. */
export function settingsOf(snapshot: Snapshot, node: string): NodeSettings {
  const spec = {
    ...find(snapshot, 'FelixConfiguration', { name: 'default' })?.spec,
    ...find(snapshot, 'FelixConfiguration', { name: `node.${node}` })?.spec,
  }
  const prefixes = (spec.interfacePrefix ?? INTERFACE_PREFIX).split(',').filter(p => p !== '')
  const action = (spec.defaultEndpointToHostAction ?? 'Drop').toLowerCase()
  const actions = { drop: 'Drop', return: 'Return', accept: 'Accept', reject: 'Reject' } as const
  return {
    interfacePrefixes: prefixes.length > 0 ? prefixes : [INTERFACE_PREFIX],
    endpointToHostAction: actions[action as keyof typeof actions] ?? 'Drop',
    conntrackInvalidCheck: spec.disableConntrackInvalidCheck !== true,
    logPrefix: spec.logPrefix ?? 'calico-packet',
  }
}

const cidrs = (texts: readonly string[]): Prefix[] => texts.flatMap(text => parsePrefix(text) ?? [])

export function nodeFacts(snapshot: Snapshot, node: string): NodeFacts {
  const pools = [...ofKind(snapshot, 'IPPool')]
  return {
    settings: settingsOf(snapshot, node),
    masqueradePools: cidrs(pools.filter(p => p.spec.natOutgoing).map(p => p.spec.cidr)),
    allPools: cidrs(pools.map(p => p.spec.cidr)),
  }
}
