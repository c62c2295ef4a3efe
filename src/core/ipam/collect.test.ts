// Which holders exist, and what is ripe at which look.
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { addr } from '../net/addr.ts'
import { prefix } from '../net/prefix.ts'
import { derived } from '../resources/derive.ts'
import { decodeResource, type Resource, snapshotOf } from '../resources/resource.ts'
import { allocate, type Block, newBlock } from './block.ts'
import { type CollectFacts, type CollectState, look, NOTHING_SEEN } from './collect.ts'
import { type Holder, holderOf, holders, isHeld } from './holder.ts'

const resource = (document: object): Resource => {
  const decoded = decodeResource(document)
  assert.ok(decoded.ok, JSON.stringify(decoded))
  return decoded.value
}
const node = (name: string) =>
  resource({ apiVersion: 'projectcalico.org/v3', kind: 'Node', metadata: { name }, spec: {} })
const pod = (more: { node?: string; annotations?: object; ip?: string; hostNetwork?: boolean } = {}) =>
  resource({
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: 'web', namespace: 'shop', annotations: more.annotations ?? {} },
    spec: { nodeName: more.node ?? 'n1', hostNetwork: more.hostNetwork ?? false },
    ...(more.ip ? { status: { podIP: more.ip, podIPs: [{ ip: more.ip }] } } : {}),
  })
const container = (spec: object) =>
  resource({
    apiVersion: 'projectcalico.org/v3',
    kind: 'WorkloadEndpoint',
    metadata: { name: 'n1-cni-c1-eth0', namespace: 'default' },
    spec: { orchestrator: 'cni', node: 'n1', containerID: 'c1', endpoint: 'eth0', interfaceName: 'cali1', ...spec },
  })
const known = (...resources: Resource[]) => holders(derived(snapshotOf(resources)).values())

describe('holderOf', () => {
  const rows: readonly (readonly [what: string, handle: string, secondary: object, holder: Holder])[] = [
    [
      'a pod',
      'k8s.c1',
      { pod: 'web', namespace: 'shop', node: 'n1', timestamp: 't' },
      { kind: 'pod', namespace: 'shop', name: 'web', node: 'n1' },
    ],
    ['a container', 'net.c1', { node: 'n1', timestamp: 't' }, { kind: 'container', id: 'c1', node: 'n1' }],
    ['a tunnel', 'vxlan-tunnel-addr-n1', { node: 'n1', type: 'vxlanTunnelAddress' }, { kind: 'node', node: 'n1' }],
    ['by hand', 'mine', {}, { kind: 'unknown' }],
    ['reserved', 'windows-reserved-ipam-handle', { note: 'windows host rsvd' }, { kind: 'unknown' }],
    ['a service', 'lb.x', { service: 'web', namespace: 'shop', type: 'loadBalancer' }, { kind: 'unknown' }],
    ['a virtual machine', 'k8s.vm', { pod: 'p', namespace: 'shop', node: 'n1', 'vmi-name': 'v' }, { kind: 'unknown' }],
    ['half a pod', 'k8s.c1', { pod: 'web', node: 'n1' }, { kind: 'unknown' }],
  ]
  for (const [what, handle, secondary, holder] of rows) {
    it(what, () => assert.deepEqual(holderOf(handle, new Map(Object.entries(secondary))), holder))
  }
})

describe('isHeld', () => {
  const [address, other] = [addr('10.0.0.1'), '10.0.0.9']
  const ofPod = {
    address,
    handle: 'k8s.c1',
    holder: { kind: 'pod', namespace: 'shop', name: 'web', node: 'n1' },
  } as const
  const CONTAINER = 'cni.projectcalico.org/containerID'
  const rows: readonly (readonly [what: string, resources: readonly Resource[], held: boolean])[] = [
    ['the pod is gone', [node('n1')], false],
    ['the pod is being added', [pod()], true],
    ['the pod says this address', [pod({ ip: address })], true],
    ['the pod says another', [pod({ ip: other })], false],
    [
      'the pod says another, its annotation this container',
      [pod({ ip: other, annotations: { [CONTAINER]: 'c1' } })],
      true,
    ],
    ['the pod says nothing and its annotation another container', [pod({ annotations: { [CONTAINER]: 'c2' } })], true],
    ['a later pod of the name runs elsewhere', [pod({ node: 'n2' })], false],
    ['a later pod of the name is on the host network', [pod({ hostNetwork: true })], false],
  ]
  for (const [what, resources, held] of rows) it(what, () => assert.equal(isHeld(ofPod, known(...resources)), held))

  it('of containers and tunnels', () => {
    const ofContainer = { address, handle: 'net.c1', holder: { kind: 'container', id: 'c1', node: 'n1' } } as const
    assert.equal(isHeld(ofContainer, known()), false)
    assert.equal(isHeld(ofContainer, known(container({}))), true)
    assert.equal(
      isHeld(
        { ...ofContainer, handle: 'net.c2', holder: { kind: 'container', id: 'c2', node: 'n1' } },
        known(container({})),
      ),
      false,
    )
    const ofTunnel = { address, handle: 'ipip-tunnel-addr-n1', holder: { kind: 'node', node: 'n1' } } as const
    assert.deepEqual([isHeld(ofTunnel, known(node('n1'))), isHeld(ofTunnel, known(node('n2')))], [true, false])
    assert.equal(isHeld({ address, handle: 'x', holder: { kind: 'unknown' } }, known()), true)
  })
})

const MINUTE = 60_000
const GRACE = 15 * MINUTE
const NOW = { rfc3339: '2026-11-24T06:10:59Z', unixNano: 1n }
const block = (cidr: string, owner: string | null, given: Readonly<Record<string, readonly number[]>> = {}): Block =>
  Object.entries(given).reduce<Block>(
    (b, [name, ordinals]) =>
      allocate(b, ordinals, {
        handleId: `k8s.${name}`,
        secondary: new Map(Object.entries({ pod: name, namespace: 'shop', node: owner?.slice(5) ?? 'n1' })),
        rest: {},
      }),
    { ...newBlock(prefix(cidr), owner ?? '', NOW), affinity: owner },
  )

/** Looks at the minutes given, each with facts of its own, and gives what was ripe at each. */
function looks(
  at: readonly (readonly [minute: number, facts: Partial<CollectFacts>])[],
  common: Partial<CollectFacts> = {},
) {
  let state: CollectState = NOTHING_SEEN
  return at.map(([minute, facts]) => {
    const nodes = known(node('n1'), node('n2'))
    const step = look(state, {
      node: 'n1',
      now: minute * MINUTE,
      grace: GRACE,
      blocks: [],
      known: nodes,
      ...common,
      ...facts,
    })
    state = step.state
    return {
      candidates: step.candidates,
      leaks: step.leaks.map(({ handle }) => handle),
      blocks: step.blocks.map(({ cidr }) => cidr as string),
      handles: step.handles,
      nodes: step.nodes,
    }
  })
}
const NOTHING = { candidates: 0, leaks: [], blocks: [], handles: [], nodes: [] }
const both = known(node('n1'), node('n2'))
const withPod = known(node('n1'), node('n2'), pod())

describe('look', () => {
  const leaked = [block('10.0.0.0/30', 'host:n1', { web: [0] })]
  it('a leak is ripe after the grace period, never at the first look', () => {
    assert.deepEqual(
      looks(
        [
          [0, {}],
          [5, {}],
          [15, {}],
          [40, {}],
        ],
        { blocks: leaked },
      ).map(({ candidates, leaks }) => [candidates, leaks]),
      [
        [1, []],
        [1, []],
        [1, ['k8s.web']],
        [1, ['k8s.web']],
      ],
    )
    assert.deepEqual(looks([[100, { blocks: leaked }]])[0]?.leaks, [])
  })

  it('the time begins anew when the pod was there in between, or the address was given anew', () => {
    const again = [block('10.0.0.0/30', 'host:n1', { other: [1], web: [0] })]
    for (const between of [{ blocks: leaked, known: withPod }, { blocks: again }]) {
      const found = looks([
        [0, { blocks: leaked }],
        [10, between],
        [16, { blocks: leaked }],
        [31, { blocks: leaked }],
      ])
      assert.deepEqual(
        found.map(({ leaks }) => leaks.includes('k8s.web')),
        [false, false, false, true],
      )
    }
  })

  it('a handle goes as a whole or not at all', () => {
    const mine = block('10.0.0.0/30', 'host:n1', { web: [0] })
    const six = block('fd00::/126', 'host:n1', { web: [1] })
    const claimed = known(node('n1'), node('n2'), pod({ ip: 'fd00::1' }))
    const blocks = [mine, six]
    assert.deepEqual(
      looks([
        [0, { blocks }],
        [20, { blocks }],
      ])[1]?.leaks,
      ['k8s.web'],
    )
    assert.deepEqual(
      looks([
        [0, { blocks, known: claimed }],
        [20, { blocks, known: claimed }],
      ])[1],
      NOTHING,
    )
  })

  it('only the owner of the block looks, and the first of the living nodes where there is none', () => {
    const dead = [block('10.0.0.0/30', 'host:n9', { web: [0] })]
    const nobodys = [block('10.0.0.0/30', null, { web: [0] })]
    const ripeFor = (name: string, blocks: readonly Block[]) =>
      looks(
        [
          [0, {}],
          [20, {}],
        ],
        { blocks, node: name },
      )[1]!.leaks.length
    assert.deepEqual(
      ['n1', 'n2'].map(name => ripeFor(name, leaked)),
      [1, 0],
    )
    assert.deepEqual(
      ['n1', 'n2'].map(name => ripeFor(name, dead)),
      [1, 0],
    )
    assert.deepEqual(
      ['n1', 'n2'].map(name => ripeFor(name, nobodys)),
      [1, 0],
    )
  })

  it('with its node gone a leak is ripe at the second look, however soon', () => {
    const blocks = [block('10.0.0.0/30', 'host:n9', { web: [0] })]
    assert.deepEqual(
      looks([
        [0, { blocks }],
        [0, { blocks }],
      ]).map(({ leaks }) => leaks),
      [[], ['k8s.web']],
    )
    const unknowing = known()
    assert.deepEqual(
      looks(
        [
          [0, {}],
          [5, {}],
        ],
        { blocks, known: unknowing, node: 'n9' },
      )[1]?.leaks,
      [],
      'no node is known at all',
    )
  })

  it('grace 0 collects only what nodes that are gone have left', () => {
    const dead = block('10.0.0.4/30', 'host:n9', { db: [0] })
    const blocks = [...leaked, dead, block('10.0.0.8/30', 'host:n1')]
    assert.deepEqual(
      looks(
        [
          [0, {}],
          [60, {}],
        ],
        { blocks, grace: 0 },
      )[1],
      { ...NOTHING, candidates: 1, leaks: ['k8s.db'] },
    )
  })

  it('an empty block is ripe after the grace period unless it was used, and never the last of its family', () => {
    const [a, b, c] = [block('10.0.0.0/30', 'host:n1'), block('10.0.0.4/30', 'host:n1'), block('fd00::/126', 'host:n1')]
    assert.deepEqual(
      looks(
        [
          [0, {}],
          [10, {}],
          [15, {}],
        ],
        { blocks: [a, b, c] },
      ).map(({ blocks }) => blocks),
      [[], [], ['10.0.0.0/30']],
    )
    const used = block('10.0.0.4/30', 'host:n1', { web: [0] })
    assert.deepEqual(
      looks(
        [
          [0, {}],
          [15, {}],
        ],
        { blocks: [a, used], known: withPod },
      )[1]?.blocks,
      ['10.0.0.0/30'],
    )
    const written = { ...a, sequenceNumber: 99n }
    assert.deepEqual(
      looks([
        [0, { blocks: [a, b] }],
        [15, { blocks: [written, used] }],
      ])[1]?.blocks,
      [],
    )
    const others = [
      block('10.0.0.0/30', 'virtual:load-balancer'),
      block('10.0.0.4/30', 'host:n2'),
      block('10.0.0.8/30', 'host:n2'),
    ]
    assert.deepEqual(
      looks(
        [
          [0, {}],
          [60, {}],
        ],
        { blocks: others },
      )[1]?.blocks,
      [],
    )
    const nobodys = [block('10.0.0.0/30', null), block('10.0.0.4/30', 'host:n9')]
    assert.deepEqual(
      looks(
        [
          [0, {}],
          [60, {}],
        ],
        { blocks: nobodys },
      )[1]?.blocks,
      ['10.0.0.0/30', '10.0.0.4/30'],
    )
  })

  it('handles that say what is not so, and nodes that are gone, are the business of the first living node', () => {
    const counts = new Map([[prefix('10.0.0.0/30'), 2]])
    const facts: Partial<CollectFacts> = {
      blocks: leaked,
      known: withPod,
      handles: [
        { id: 'k8s.web', revision: 1, counts: new Map([[prefix('10.0.0.0/30'), 1]]) },
        { id: 'k8s.half', revision: 2, counts },
        { id: 'k8s.none', revision: 3, counts: new Map() },
      ],
      owners: ['host:n1', 'host:n9'],
    }
    assert.deepEqual(
      looks([
        [0, facts],
        [15, facts],
      ]),
      [NOTHING, { ...NOTHING, handles: ['k8s.half', 'k8s.none'], nodes: ['n9'] }],
    )
    assert.deepEqual(
      looks(
        [
          [0, facts],
          [15, facts],
        ],
        { node: 'n2' },
      )[1],
      NOTHING,
    )
    const moved = { ...facts, handles: [{ id: 'k8s.half', revision: 9, counts }] }
    assert.deepEqual(
      looks([
        [0, facts],
        [15, moved],
      ])[1]?.handles,
      [],
    )
    const busy = { ...facts, blocks: [block('10.0.0.4/30', 'host:n9', { db: [0] })], known: both }
    assert.deepEqual(
      looks([
        [0, busy],
        [0, busy],
      ])[1]?.nodes,
      [],
    )
  })
})
