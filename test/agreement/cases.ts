// Cases for the judges: a random cluster (cluster.ts) with a few policies made for pairs of features that nobody has seen
// yet, and settings of its nodes.
import fc from 'fast-check'
import { BUDGET } from '../../src/core/classify/split.ts'
import { decodeResource, isTieredPolicy, type Resource, snapshotOf } from '../../src/core/resources/resource.ts'
import { type Dice, dice, pick } from '../support/dice.ts'
import { cluster } from './cluster.ts'
import { FEATURED_FIXED, featuredPolicy } from './featured-policy.ts'
import { type Feature, membersOf, type Pair, WANTED, whyImpossible } from './features.ts'
import type { Case } from './judges.ts'

const FEATURED = 5

/** Features that the compiler makes something of together; each set is one rule, and rules of one list follow each other. */
const INTERPLAY: readonly (readonly (readonly Feature[])[])[] = [
  [['icmp=type', 'notICMP=code', 'action=Allow']],
  [['own selector=has', 'ports=name', 'direction=ingress', 'kind=GlobalNetworkPolicy', 'protocol=TCP', 'tier=ordered']],
  [['own selector===', 'source ports=name', 'direction=egress', 'protocol=TCP']],
  [['peer selector=has', 'ports=name', 'direction=egress', 'kind=GlobalNetworkPolicy', 'protocol=TCP', 'tier=ordered']],
  [['icmp=code', 'action=Allow', 'tier=ordered', 'kind=GlobalNetworkPolicy']],
  [
    ['action=Deny', 'ports=number', 'protocol=TCP', 'tier=ordered', 'direction=ingress', 'kind=GlobalNetworkPolicy'],
    ['action=Allow', 'protocol=TCP', 'tier=ordered', 'direction=ingress', 'kind=GlobalNetworkPolicy'],
  ],
  [
    ['action=Pass', 'source ports=number', 'tier=ordered', 'direction=egress', 'protocol=TCP'],
    ['action=Allow', 'source ports=range', 'tier=default', 'direction=egress', 'protocol=TCP'],
  ],
  [
    ['action=Pass', 'own nets=4', 'tier=ordered', 'direction=ingress'],
    ['action=Allow', 'source notPorts=range', 'tier=default', 'direction=ingress'],
  ],
  [
    ['action=Log', 'own nets=6', 'tier=ordered', 'direction=egress'],
    ['action=Deny', 'own notNets=6', 'tier=ordered', 'direction=egress'],
  ],
  [
    ['kind=StagedGlobalNetworkPolicy', 'action=Pass', 'source ports=number', 'tier=ordered', 'direction=ingress'],
    ['action=Allow', 'own nets=4', 'tier=ordered', 'direction=ingress'],
  ],
  [['protocol=ICMP', 'action=Deny', 'tier=ordered', 'kind=GlobalNetworkPolicy']],
  [
    ['kube tier=Admin', 'action=Pass', 'kube ports=range'],
    ['kind=KubernetesNetworkPolicy', 'kube peers=except', 'kube ports=range'],
  ],
]

/** The same of host endpoints. */
const HOST_INTERPLAY: typeof INTERPLAY = [
  [
    ['at=untracked', 'action=Allow', 'direction=ingress', 'ports=range', 'protocol=TCP'],
    ['at=prednat', 'action=Deny', 'direction=ingress', 'protocol=TCP'],
  ],
  [
    ['at=untracked', 'action=Allow', 'direction=egress'],
    ['at=host', 'action=Deny', 'direction=egress', 'tier=ordered'],
  ],
  [
    ['at=prednat', 'action=Allow', 'direction=ingress', 'own nets=4'],
    ['at=forward', 'action=Deny', 'direction=ingress', 'tier=ordered'],
  ],
  [
    ['at=forward', 'action=Pass', 'direction=egress', 'own selector=has', 'tier=ordered'],
    ['at=forward', 'action=Allow', 'direction=egress', 'tier=default'],
  ],
  [['at=host', 'action=Allow', 'direction=ingress', 'own selector===', 'ports=name', 'protocol=TCP', 'tier=ordered']],
]

/** A few features that can stand together, among them two that are wanted. */
function featureSet(wanted: readonly Pair[], d: Dice, given: readonly Feature[] = []): Feature[] {
  const features = [...given]
  for (let i = 0; i < 3; i++) {
    const [a, b] = membersOf(pick(d, wanted.length > 0 ? wanted : WANTED))
    for (const f of [a, b]) {
      const same = features.some(g => g.split('=')[0] === f.split('=')[0])
      if (!same && features.every(g => whyImpossible(f, g) === undefined)) features.push(f)
    }
  }
  return features
}

const failsafe = (d: Dice): object => ({
  protocol: pick(d, ['TCP', 'UDP']),
  port: pick(d, [53, 80, 443, 8080, 40000]),
  net: pick(d, [undefined, undefined, '192.0.2.0/24', 'fd00::/8']),
})
const failsafes = (d: Dice): object[] | undefined =>
  d(3) === 0 ? undefined : Array.from({ length: d(4) }, () => failsafe(d))

/**
 * Of every node. Denied packets are dropped: the answer of a reject holds the packet that it is about, and would be taken
 * for it.
 */
const settings = (d: Dice): object => ({
  apiVersion: 'projectcalico.org/v3',
  kind: 'FelixConfiguration',
  metadata: { name: 'default' },
  spec: {
    defaultEndpointToHostAction: pick(d, ['Drop', 'Accept', 'Return', 'Reject']),
    disableConntrackInvalidCheck: pick(d, [true, false]),
    allowVXLANPacketsFromWorkloads: pick(d, [true, false]),
    allowIPIPPacketsFromWorkloads: pick(d, [true, false]),
    vxlanPort: pick(d, [4789, 8500]),
    failsafeInboundHostPorts: failsafes(d),
    failsafeOutboundHostPorts: failsafes(d),
  },
})
/** Small ones cut the tables into parts. */
const BUDGETS = [BUDGET, BUDGET, 20, 4, 1] as const

/** Random rules deny more than they allow: what is left over at the end of the default tier is let through, now and then. */
const OPEN = (d: Dice): object => ({
  apiVersion: 'projectcalico.org/v3',
  kind: 'GlobalNetworkPolicy',
  metadata: { name: 'open' },
  spec: {
    order: 5000,
    selector: pick(d, ['has(role)', "has(role) || env != 'p'", "role != 'back'"]),
    applyOnForward: d(2) === 0,
    types: ['Ingress', 'Egress'],
    ingress: [{ action: 'Allow' }],
    egress: [{ action: 'Allow' }],
  },
})

/** What is decided depends on the seed and on what is still wanted. */
export function makeCase(seed: number, wanted: readonly Pair[]): Case {
  const d = dice(seed)
  const [base] = fc.sample(cluster, { numRuns: 1, seed })
  const ofProfile = wanted.filter(pair => pair.includes('kind=Profile'))
  const together = [...pick(d, INTERPLAY), ...(d(2) === 0 ? pick(d, HOST_INTERPLAY) : [])].map((features, i) =>
    featuredPolicy(features, `t${i}`, d),
  )
  const made = [
    ...together,
    ...Array.from({ length: FEATURED }, (_, i) => featuredPolicy(featureSet(wanted, d), `f${i}`, d)),
    featuredPolicy(featureSet(ofProfile.length > 0 ? ofProfile : wanted, d, ['kind=Profile']), '', d),
  ]
  const open = d(4) > 0 ? [OPEN(d)] : []
  const kept = [...base!.values()].filter(r => !isTieredPolicy(r) || d(3) > 0)
  const decoded = [...FEATURED_FIXED, settings(d), ...made, ...open].flatMap((document): Resource[] => {
    const result = decodeResource(document)
    return result.ok ? [result.value] : []
  })
  return { snapshot: snapshotOf([...kept, ...decoded]), budget: pick(d, BUDGETS) }
}
