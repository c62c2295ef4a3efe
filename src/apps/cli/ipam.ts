// ipam show: how full the pools and blocks are, who holds an address, who borrows, and the settings; calicoctl's tables.
import { addressAt, type Block, ordinalOf } from '../../core/ipam/block.ts'
import { type Counts, utilisation } from '../../core/ipam/utilisation.ts'
import { parseAddr } from '../../core/net/addr.ts'
import { prefixBase, prefixFamily } from '../../core/net/prefix.ts'
import { reservedIn } from '../../core/resources/kinds/ip-reservation.ts'
import { find, type IPAMConfiguration, ofKind, type Snapshot } from '../../core/resources/resource.ts'
import type { Client } from './client.ts'
import { framed } from './table.ts'
import { CommandError, type Terminal } from './terminal.ts'

export type IpamShowOptions = {
  readonly ip?: string | undefined
  readonly showBlocks: boolean
  readonly showBorrowed: boolean
  readonly showConfiguration: boolean
}

/** Go's %.5g for whole numbers. */
export function fiveDigits(n: number): string {
  if (n < 99999.5) return String(Math.round(n))
  const [digits = '', exponent = ''] = n.toExponential(4).split('e')
  return `${digits.replace(/\.?0+$/, '')}e+${exponent.slice(1).padStart(2, '0')}`
}

const share = (part: number, total: number): string => `${fiveDigits(part)} (${((100 * part) / total).toFixed(0)}%)`

function usageRow(grouping: string, cidr: string, { capacity, inUse, reserved, free }: Counts): string[] {
  const shares = [inUse, reserved, free].map(part => share(part, capacity))
  return [grouping, cidr, fiveDigits(capacity), ...shares]
}

/** The usage table: pools, with what is reserved of them, and their blocks if these are wanted. */
export function printUsage(resources: Snapshot, blocks: readonly Block[], showBlocks: boolean): string {
  const pools = [...ofKind(resources, 'IPPool')].map(({ metadata, spec }) => ({ name: metadata.name, ...spec }))
  const uses = utilisation(pools, blocks, reservedIn(ofKind(resources, 'IPReservation')))
  const rows = uses.flatMap(use => [
    usageRow('IP Pool', use.cidr, use),
    ...(showBlocks ? use.blocks.map(block => usageRow('Block', block.cidr, block)) : []),
  ])
  return framed(['GROUPING', 'CIDR', 'IPS TOTAL', 'IPS IN USE', 'IPS RESERVED', 'IPS FREE'], rows, [2, 3, 4, 5])
}

export function printAddress(text: string, blocks: readonly Block[]): string {
  const addr = parseAddr(text)
  if (addr === undefined) throw new CommandError(`invalid IP address: ${text}`)
  for (const block of blocks) {
    const ordinal = ordinalOf(block.cidr, addr)
    const index = ordinal === undefined ? null : block.allocations[ordinal]
    const attribute = index === null || index === undefined ? undefined : block.attributes[index]
    if (!attribute) continue
    const pairs = [...attribute.secondary].sort(([a], [b]) => (a < b ? -1 : 1))
    const lines = [`IP ${addr} is in use`]
    if (attribute.handleId !== undefined) lines.push(`Handle ID: ${attribute.handleId}`)
    lines.push('Active Owner Attributes:', ...pairs.map(([key, value]) => `  ${key}: ${value}`))
    return `${lines.join('\n')}\n`
  }
  return `${addr} is not assigned\n`
}

const nodeOf = (owner: string | null): string => owner?.replace(/^(host|virtual):/, '') ?? ''

/** Addresses that a node uses out of another node's block. */
export function printBorrowed(blocks: readonly Block[]): string {
  const rows: string[][] = []
  for (const { cidr, affinity, allocations, attributes } of blocks) {
    for (const [ordinal, index] of allocations.entries()) {
      const holder = index === null ? undefined : attributes[index]?.secondary
      const node = holder?.get('node')
      if (!holder || node === undefined || node === nodeOf(affinity)) continue
      const pod = holder.get('pod')
      const allocatedTo = pod === undefined ? '' : `${holder.get('namespace') ?? ''}/${pod}`
      const type = holder.get('type') ?? (pod === undefined ? '' : 'pod')
      rows.push([addressAt(cidr, ordinal), node, cidr, nodeOf(affinity), type, allocatedTo])
    }
  }
  return framed(['IP', 'BORROWING-NODE', 'BLOCK', 'BLOCK OWNER', 'TYPE', 'ALLOCATED-TO'], rows)
}

const byAddress = (a: Block, b: Block): number =>
  prefixFamily(a.cidr) - prefixFamily(b.cidr) || (prefixBase(a.cidr) < prefixBase(b.cidr) ? -1 : 1)

function printConfiguration(config: IPAMConfiguration | undefined): string {
  const { strictAffinity, autoAllocateBlocks, maxBlocksPerHost } = config?.spec ?? {}
  const rows = [
    ['StrictAffinity', String(strictAffinity ?? false)],
    ['AutoAllocateBlocks', String(autoAllocateBlocks ?? true)],
    ['MaxBlocksPerHost', String(maxBlocksPerHost ?? 0)],
  ]
  return framed(['PROPERTY', 'VALUE'], rows)
}

export async function ipamShow(
  options: IpamShowOptions,
  context: { client: Client; terminal: Terminal },
): Promise<void> {
  const { client, terminal } = context
  const { resources } = await client.read()
  const blocks = [...(await client.blocks())].sort(byAddress)
  const text =
    options.ip !== undefined
      ? printAddress(options.ip, blocks)
      : options.showBorrowed
        ? printBorrowed(blocks)
        : options.showConfiguration
          ? printConfiguration(find(resources, 'IPAMConfiguration', { name: 'default' }))
          : printUsage(resources, blocks, options.showBlocks)
  terminal.out(text)
}
