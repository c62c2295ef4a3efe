// The lab as constants: which nodes and networks there are and how they are numbered. Nothing of it is in the machine's own
// network, so any number of labs may use the same addresses at once; only their names differ, by a prefix.
//
//        rack 1: 172.30.1.0/24, fd30:1::/64                rack 2: 172.30.2.0/24, fd30:2::/64
//     node-a .11 ──┐
//                  ├── bridge ── router .1 (AS 65000) ── .1 ── node-c .13
//     node-b .12 ──┘                 │
//                         outside: 203.0.113.1, 2001:db8:0:1::1
//
// examples/lab/cluster.yaml says the same to the datastore; a test holds the two against each other.
import type { Addr, Family } from '../../core/net/addr.ts'
import { addr } from '../../core/net/addr.ts'

export type Both<T> = { readonly [family in Family]: T }

export type LabRack = { readonly name: string; readonly router: Both<Addr>; readonly length: Both<number> }
export type LabNode = { readonly name: string; readonly rack: LabRack; readonly address: Both<Addr> }

const rack = (number: number): LabRack => ({
  name: `rack${number}`,
  router: { 4: addr(`172.30.${number}.1`), 6: addr(`fd30:${number}::1`) },
  length: { 4: 24, 6: 64 },
})
const node = (name: string, at: { readonly rack: number; readonly host: number }): LabNode => ({
  name,
  rack: RACKS[at.rack - 1]!,
  address: { 4: addr(`172.30.${at.rack}.${at.host}`), 6: addr(`fd30:${at.rack}::${at.host}`) },
})

export const RACKS: readonly LabRack[] = [rack(1), rack(2)]
export const NODES: readonly LabNode[] = [
  node('node-a', { rack: 1, host: 11 }),
  node('node-b', { rack: 1, host: 12 }),
  node('node-c', { rack: 2, host: 13 }),
]
export const NODE_AS = 64512
export const ROUTER_AS = 65000
/** Addresses of the router that stand for the world outside of the cluster. */
export const OUTSIDE: Both<Addr> = { 4: addr('203.0.113.1'), 6: addr('2001:db8:0:1::1') }

export const DEFAULT_PREFIX = 'gingham'

/** The names of the lab's network namespaces. */
export const names = (prefix: string) => ({
  router: `${prefix}-router`,
  node: (name: string) => `${prefix}-${name}`,
  pod: (namespace: string, name: string) => `${prefix}-pod-${namespace}-${name}`,
})

/** A prefix begins the names of namespaces and stands in paths. */
export const isPrefix = (text: string): boolean => /^[a-z][a-z0-9-]{0,30}$/.test(text)
