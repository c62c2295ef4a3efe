// IPPool: addresses for workloads, tunnels or load balancers, and how traffic from them travels.
import { z } from 'zod'
import type { Problem } from '../../base/problem.ts'
import { type Prefix, prefix, prefixesOverlap, prefixFamily, prefixLength } from '../../net/prefix.ts'
import { selector } from '../../selector/parse.ts'
import { cidr, flag, selectorText } from '../field.ts'
import { calicoKind, type DeepReadonly } from '../kind.ts'
import { calicoHead } from '../metadata.ts'

export const ENCAPSULATIONS = ['Never', 'Always', 'CrossSubnet'] as const
export const POOL_USES = ['Workload', 'Tunnel', 'LoadBalancer'] as const

const DEFAULT_BLOCK = { 4: 26, 6: 122 } as const
const BLOCK_SIZES = { 4: [20, 32], 6: [116, 128] } as const
const LINK_LOCAL: readonly Prefix[] = [prefix('169.254.0.0/16'), prefix('fe80::/10')]

const spec = z
  .strictObject({
    cidr: cidr(),
    vxlanMode: z.enum(ENCAPSULATIONS).default('Never'),
    ipipMode: z.enum(ENCAPSULATIONS).default('Never'),
    /** Whether traffic to addresses outside of all pools takes the node's address. */
    natOutgoing: flag(),
    /** No new addresses are given out. */
    disabled: flag(),
    disableBGPExport: flag(),
    /** Length of the prefixes that nodes take from the pool. */
    blockSize: z.int().optional(),
    nodeSelector: selectorText().transform(value => value ?? 'all()'),
    namespaceSelector: selectorText(),
    allowedUses: z
      .array(z.enum(POOL_USES))
      .optional()
      .transform((uses): (typeof POOL_USES)[number][] => (uses?.length ? uses : ['Workload', 'Tunnel'])),
    assignmentMode: z.enum(['Automatic', 'Manual']).default('Automatic'),
  })
  .transform(pool => ({ ...pool, blockSize: pool.blockSize || DEFAULT_BLOCK[prefixFamily(pool.cidr)] }))

const schema = z.strictObject({ ...calicoHead('IPPool'), spec, status: z.looseObject({}).optional() })

type Spec = DeepReadonly<z.output<typeof schema>>['spec']

function checkLoadBalancer(pool: Spec): Problem[] {
  if (!pool.allowedUses.includes('LoadBalancer')) return []
  const problems: Problem[] = []
  const add = (field: string, message: string) => problems.push({ path: `spec.${field}`, message })
  if (pool.allowedUses.length > 1) add('allowedUses', 'LoadBalancer cannot be combined with other uses')
  if (pool.vxlanMode !== 'Never') add('vxlanMode', 'a LoadBalancer pool has no encapsulation')
  if (pool.ipipMode !== 'Never') add('ipipMode', 'a LoadBalancer pool has no encapsulation')
  if (selector(pool.nodeSelector).op !== 'all')
    add('nodeSelector', 'a LoadBalancer pool is for all(): nodes do not matter')
  if (pool.disableBGPExport) add('disableBGPExport', 'is not allowed in a LoadBalancer pool')
  return problems
}

export const ipPool = calicoKind({
  kind: 'IPPool',
  plural: 'ippools',
  namespaced: false,
  aliases: ['ipp', 'ipps', 'pool', 'pools'],
  schema,
  check: ({ spec: pool }) => {
    const family = prefixFamily(pool.cidr)
    const [smallest, largest] = BLOCK_SIZES[family]
    const problems = checkLoadBalancer(pool)
    const add = (problem: Problem) => problems.push(problem)
    if (pool.ipipMode !== 'Never' && pool.vxlanMode !== 'Never') {
      add({
        path: 'spec.ipipMode',
        message: 'ipipMode and vxlanMode cannot both be enabled',
        fix: 'set one of them to Never',
      })
    }
    if (pool.ipipMode !== 'Never' && family === 6) {
      add({ path: 'spec.ipipMode', message: 'IP in IP carries IPv4 only', fix: 'use vxlanMode' })
    }
    if (pool.blockSize < smallest || pool.blockSize > largest) {
      const message = `must be from ${smallest} to ${largest} for IPv${family}`
      add({ path: 'spec.blockSize', message, fix: `leave it out for ${DEFAULT_BLOCK[family]}`, value: pool.blockSize })
    } else if (prefixLength(pool.cidr) > pool.blockSize && !pool.disabled) {
      const message = `is smaller than one block of the pool (/${pool.blockSize})`
      const fix =
        prefixLength(pool.cidr) <= largest ? `a larger CIDR, or blockSize: ${prefixLength(pool.cidr)}` : undefined
      add({ path: 'spec.cidr', message, value: pool.cidr, ...(fix ? { fix } : {}) })
    }
    for (const reserved of LINK_LOCAL) {
      if (prefixFamily(reserved) === family && prefixesOverlap(reserved, pool.cidr)) {
        add({ path: 'spec.cidr', message: `overlaps the link-local range ${reserved}`, value: pool.cidr })
      }
    }
    if (pool.namespaceSelector !== undefined && pool.allowedUses.includes('Tunnel')) {
      add({
        path: 'spec.namespaceSelector',
        message: 'cannot be used with the use Tunnel',
        fix: 'set allowedUses: [Workload]',
        value: pool.namespaceSelector,
      })
    }
    return problems
  },
})
