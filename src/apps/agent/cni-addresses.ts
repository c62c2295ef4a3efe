// Who gives a container its addresses. Our own IPAM: those it has already, else those asked for, else one of each family from the pools that
// qualify. All or none.

import { IpamError } from '../../core/ipam/plan.ts'
import type { IPPoolLike } from '../../core/ipam/pools.ts'
import { type Addr, FAMILIES, familyOf } from '../../core/net/addr.ts'
import type { Prefix } from '../../core/net/prefix.ts'
import { reservedIn } from '../../core/resources/kinds/ip-reservation.ts'
import type { ResourceOf } from '../../core/resources/resource.ts'
import { matches } from '../../core/selector/match.ts'
import { selector } from '../../core/selector/parse.ts'
import { readHandleAddresses } from '../../io/cni/handles.ts'
import { ahead, type CniDeps, isNotFound, step, type Workload } from './cni-deps.ts'

async function readValid<K extends 'IPPool' | 'IPReservation'>(
  { resources, log }: CniDeps,
  kind: K,
): Promise<readonly ResourceOf<K>[]> {
  const { items, undecodable } = await resources.list(kind)
  for (const { key, problems } of undecodable) log.warn({ key, problems }, `an ${kind} is not valid and is passed over`)
  return items
}

async function readPools(deps: CniDeps): Promise<IPPoolLike[]> {
  return (await readValid(deps, 'IPPool')).map(({ metadata, spec }) => ({ name: metadata.name, ...spec }))
}

async function nodeLabels({ resources, node }: CniDeps): Promise<Readonly<Record<string, string>>> {
  try {
    return (await resources.get('Node', { name: node })).metadata.labels ?? {}
  } catch (error) {
    if (isNotFound(error)) return {}
    throw error
  }
}

/** What addresses are chosen by, besides the workload. */
type Surroundings = {
  readonly pools: readonly IPPoolLike[]
  readonly nodeLabels: Readonly<Record<string, string>>
  /** Given to nobody who does not ask for just that one. */
  readonly reserved: readonly Prefix[]
}

async function readSurroundings(deps: CniDeps): Promise<Surroundings> {
  const [pools, labels, reservations] = await Promise.all([
    readPools(deps),
    nodeLabels(deps),
    readValid(deps, 'IPReservation'),
  ])
  return { pools, nodeLabels: labels, reserved: reservedIn(reservations) }
}

/** Whether what the container has is what it would be given: nothing more, nothing less. */
function suffices(held: readonly Addr[], { wishes }: Workload): boolean {
  if (wishes.addresses.length > 0) {
    return held.length === wishes.addresses.length && wishes.addresses.every(address => held.includes(address))
  }
  const count = (family: number): number => held.filter(address => familyOf(address) === family).length
  return FAMILIES.every(family => count(family) === (wishes.families.includes(family) ? 1 : 0))
}

/** Who gives addresses to one container, and takes them back. */
export type AddressSource = {
  /** Begins to read what it needs, and gives the way to the addresses, IPv4 first: all or none. What may be left after a failure goes with `release`. */
  readonly begin: () => (workload: Workload) => Promise<readonly Addr[]>
  /** Done again it does no harm. */
  readonly release: () => Promise<unknown>
  /** What it has, as far as that is known. */
  readonly held: () => Promise<readonly Addr[]>
  /** What is wrong with the addresses that ADD told, one sentence each. */
  readonly faults: (told: readonly Addr[]) => Promise<string[]>
}

/** Our own IPAM, by a handle. */
export function poolSource(deps: CniDeps, handle: string): AddressSource {
  const held = () => readHandleAddresses(deps.resources.store, handle)
  return {
    begin: () => {
      const surroundings = ahead(readSurroundings(deps))
      return workload => giveAddresses(deps, handle, { workload, surroundings })
    },
    release: () => deps.ipam.releaseByHandle(handle),
    held,
    faults: async told => {
      const found = await step(`cannot read the addresses of ${handle}`, held)
      return [
        ...told.filter(address => !found.includes(address)).map(address => `${address} is not allocated to ${handle}`),
        ...found.filter(address => !told.includes(address)).map(address => `prevResult lacks ${address}`),
      ]
    },
  }
}

/** Throws an IpamError. */
async function giveAddresses(
  { ipam, node }: CniDeps,
  handle: string,
  { workload, surroundings }: { readonly workload: Workload; readonly surroundings: Promise<Surroundings> },
): Promise<readonly Addr[]> {
  const { wishes, attributes, namespaceLabels } = workload
  const assign = async (isNewHandle: boolean): Promise<readonly Addr[]> => {
    const { pools, nodeLabels: labels, reserved } = await surroundings
    const { v4, v6 } = await ipam.autoAssign({
      ...{ node, handle, isNewHandle, attributes, pools, reserved },
      num4: wishes.families.includes(4) ? 1 : 0,
      num6: wishes.families.includes(6) ? 1 : 0,
      requested4: wishes.pools[4],
      requested6: wishes.pools[6],
      matchesNode: text => matches(selector(text), labels),
      matchesNamespace: text => matches(selector(text), namespaceLabels),
    })
    return [...v4, ...v6]
  }
  // Nearly every container comes once: whether it has been here before is found by making its handle. One that has may hold the
  // last addresses that there were.
  if (wishes.addresses.length === 0) {
    try {
      return await assign(true)
    } catch (error) {
      if (!(error instanceof IpamError)) throw error
    }
  }
  const held = await ipam.renew(handle)
  if (held.length > 0) {
    if (suffices(held, workload)) return held
    await ipam.releaseByHandle(handle)
  }
  if (wishes.addresses.length === 0) return assign(false)
  const { pools } = await surroundings
  for (const address of wishes.addresses) await ipam.assignIp(address, { node, handle, attributes, pools })
  return wishes.addresses
}
