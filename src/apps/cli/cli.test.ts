// get, why, status, ipam and version, as a person types them.
import assert from 'node:assert/strict'
import path from 'node:path'
import { test } from 'node:test'
import { allocate, encodeBlock, newBlock } from '../../core/ipam/block.ts'
import { blockKey } from '../../core/ipam/keys.ts'
import { prefix } from '../../core/net/prefix.ts'
import type { AgentStatus, OutcomeCounter } from './agents.ts'
import { EXAMPLES, SEED, shell, WORLD } from './shell.fixture.ts'

test('get: tables, formats and scopes', async () => {
  const { gingham } = shell()
  await gingham(['apply', '-f', '-'], WORLD)
  await gingham(['apply', '-f', SEED, '-f', path.join(EXAMPLES, 'quarantine-tier.yaml')])
  assert.equal(
    (await gingham(['get', 'networkpolicies', '-A', '-o', 'wide'])).out,
    'NAMESPACE   NAME                        TIER      ORDER   SELECTOR             \n' +
      "default     allow-backend-to-frontend   default   100     role == 'frontend'   \n\n",
  )
  assert.equal(
    (await gingham(['get', 'np'])).out,
    'NAME                        TIER      \nallow-backend-to-frontend   default   \n\n',
  )
  assert.equal(
    (await gingham(['get', 'tiers'])).out,
    'NAME            ORDER   \nsecurity        100     \nkube-admin      1000    \ndefault         1e+06   \nkube-baseline   1e+07   \n\n',
  )
  assert.equal(
    (await gingham(['get', 'wep', '-n', 'default'])).out,
    'NAMESPACE   WORKLOAD   NODE     NETWORKS                  INTERFACE         \n' +
      'default     frontend   node-a   10.0.0.1/32,fd00::1/128   cali9b723216629   \n' +
      'default     other      node-a   10.0.0.3/32               calibaee662cd2c   \n' +
      'default     backend    node-b   10.0.0.2/32,fd00::2/128   cali1e9261921dc   \n\n',
  )
  assert.equal((await gingham(['get', 'pods', '-o', 'name'])).out, 'pod/backend\npod/frontend\npod/other\n')
  const list = JSON.parse((await gingham(['get', 'profiles', '-o', 'json'])).out)
  assert.equal(list.kind, 'ProfileList')
  assert.deepEqual(
    list.items.map((item: { metadata: { name: string } }) => item.metadata.name),
    ['kns.default', 'projectcalico-default-allow'],
  )
  assert.match((await gingham(['get', '-f', SEED])).out, /^NAMESPACE {3}NAME .*\ndefault {5}allow-backend-to-frontend /)
})

const HOSTS = `
{apiVersion: projectcalico.org/v3, kind: HostEndpoint, metadata: {name: b-eth0, labels: {host: b}}, spec: {node: node-b, interfaceName: eth0, expectedIPs: [172.16.0.2]}}
---
{apiVersion: projectcalico.org/v3, kind: HostEndpoint, metadata: {name: b-all}, spec: {node: node-b, interfaceName: "*", profiles: [projectcalico-default-allow]}}
---
{apiVersion: projectcalico.org/v3, kind: GlobalNetworkPolicy, metadata: {name: ssh-only}, spec: {selector: "host == 'b'", ingress: [{action: Allow, protocol: TCP, destination: {ports: [2222]}}]}}
`

test('host endpoints: get, what apply says of them, why', async () => {
  const { gingham } = shell()
  await gingham(['apply', '-f', '-'], WORLD)
  const applied = await gingham(['apply', '-f', '-'], HOSTS)
  assert.equal(applied.code, 0, applied.out + applied.err)
  assert.match(
    applied.err,
    /It guards interface eth0 of node 'node-b': what no policy allows is denied, save for the failsafe ports\./,
  )
  assert.match(applied.err, /It guards every interface that has no host endpoint of its own of node 'node-b'/)
  assert.equal((await gingham(['get', 'hep'])).out, 'NAME     NODE     \nb-all    node-b   \nb-eth0   node-b   \n\n')
  assert.equal(
    (await gingham(['get', 'heps', '-o', 'wide'])).out,
    'NAME     NODE     INTERFACE   IPS          PROFILES                      \n' +
      'b-all    node-b   *                        projectcalico-default-allow   \n' +
      'b-eth0   node-b   eth0        172.16.0.2                                 \n\n',
  )
  const pods = `{apiVersion: projectcalico.org/v3, kind: GlobalNetworkPolicy, metadata: {name: everything}, spec: {selector: all()}}`
  assert.match((await gingham(['apply', '-f', '-'], pods)).err, /It governs 2 host endpoints too: b-all and b-eth0\./)
  await gingham(['delete', 'gnp', 'everything'])
  const untracked = `{apiVersion: projectcalico.org/v3, kind: GlobalNetworkPolicy, metadata: {name: raw}, spec: {selector: "!has(host)", doNotTrack: true, applyOnForward: true, ingress: [{action: Allow}]}}`
  assert.match(
    (await gingham(['apply', '-f', '-'], untracked)).err,
    /spec\.doNotTrack: is not asked at HostEndpoint b-all: interfaceName \* is for tracked policy/,
  )
  const why = async (...question: string[]) => (await gingham(['why', ...question])).out
  const denied = await why('192.0.2.7', 'hep/b-eth0', 'tcp/80')
  assert.match(denied, /^DENIED 192\.0\.2\.7 -> HostEndpoint b-eth0 tcp\/80 \(192\.0\.2\.7 -> 172\.16\.0\.2\)\n/)
  assert.match(
    denied,
    /at HostEndpoint b-eth0 of node node-b: DENIED\n {2}the host's ingress of HostEndpoint b-eth0: DENIED at the end of tier default: its policies select this endpoint/,
  )
  assert.match(denied, /near miss {2}GlobalNetworkPolicy ssh-only ingress\[0\]/)
  assert.match(await why('192.0.2.7', '172.16.0.2', 'tcp/2222'), /^ALLOWED/)
  assert.match(await why('192.0.2.7', 'hep/b-eth0', 'tcp/22'), /node-b: passes by a failsafe port/)
  assert.match(
    await why('hep/b-eth0', '192.0.2.7', 'tcp/443'),
    /the host's egress of HostEndpoint b-eth0: DENIED: no policy decides and no profile allows this/,
  )
  assert.match((await gingham(['why', 'hep/none', '192.0.2.7', 'tcp/1'])).err, /there is no host endpoint none/)
  assert.match(
    (await gingham(['why', 'hep/b-all', '192.0.2.7', 'tcp/1'])).err,
    /the address of host endpoint b-all is not known \(fix: give it expectedIPs\)/,
  )
})

test('get: errors', async () => {
  const { gingham } = shell()
  const errors: [string[], string][] = [
    [['get', 'wombats'], "failed to get resources: resource type 'wombats' is not supported"],
    [['get', 'gnp', '-A'], 'failed to get resources: GlobalNetworkPolicy is not namespaced'],
    [
      ['get', 'np', '-n', 'a', '-A'],
      'failed to get resources: cannot use both --namespace and --all-namespaces flags at the same time',
    ],
    [
      ['get', 'np', 'x', '-A'],
      'failed to get resources: cannot use --all-namespace flag for getting a single resource',
    ],
    [['get', 'np', '-o', 'xml'], "unrecognized output format 'xml'"],
    [
      ['get', 'np', 'x'],
      'failed to get resources: resource does not exist: NetworkPolicy(default/x) with error: <nil>',
    ],
    [['get'], 'no input (fix: -f FILE, or -f - for standard input)'],
    [
      ['delete', 'tier', 'default'],
      "Failed to delete 'Tier' resource: operation Delete is not supported on Tier(default): Cannot delete default tier",
    ],
  ]
  for (const [args, message] of errors) {
    assert.deepEqual(await gingham(args), { code: 1, out: '', err: `Error: ${message}\n` }, args.join(' '))
  }
  assert.equal((await gingham(['get', 'np', '--what'])).code, 1)
})

const COUNTERS: readonly OutcomeCounter[] = [
  { cause: 'Tier default ingress default Deny', direction: 'ingress', chain: 'outcome-1', packets: 3, bytes: 180 },
  { cause: 'Tier default ingress default Deny', direction: 'ingress', chain: 'outcome-2', packets: 4, bytes: 240 },
]

test('why: text, JSON, both families, the kernel, mistakes', async () => {
  const { gingham } = shell({ counters: { 'node-a': COUNTERS } })
  await gingham(['apply', '-f', '-'], WORLD)
  await gingham(['apply', '-f', SEED])
  const denied = await gingham(['why', 'default/other', 'frontend', 'tcp/80'])
  assert.equal(denied.code, 0)
  const lines = denied.out.split('\n')
  assert.equal(lines[0], 'DENIED default/other -> default/frontend tcp/80 (10.0.0.3 -> 10.0.0.1)')
  assert.ok(denied.out.includes("source does not match role == 'backend' (labels role=other)"))
  assert.ok(
    lines.includes(
      'seen by the kernel on node-a: 7 packets, 420 bytes decided in ingress by Tier default ingress default Deny (all flows)',
    ),
    denied.out,
  )
  assert.equal((await gingham(['why', 'other', 'frontend', '80', '--exit-code'])).code, 2)

  const allowed = await gingham(['why', 'frontend', 'backend', 'tcp/http', '--exit-code'])
  assert.equal(allowed.code, 0)
  assert.match(allowed.out, /^ALLOWED default\/frontend -> default\/backend tcp\/8080 \(10\.0\.0\.1 -> 10\.0\.0\.2\)\n/)
  assert.match(allowed.out, /\nIPv6 \(fd00::1 -> fd00::2\): the same, for the same reasons\n$/)
  assert.match((await gingham(['why', 'frontend', 'backend', 'icmp', '-6'])).out, /^ALLOWED .* icmpv6 type 128 code 0 /)

  const [answer] = JSON.parse((await gingham(['why', 'other', 'frontend', 'tcp/80', '-o', 'json'])).out)
  assert.equal(answer.verdict, 'deny')
  assert.equal(answer.ingress.cause.kind, 'tier')
  assert.equal(answer.kernel[1].packets, 7)

  const wrong: [string[], RegExp][] = [
    [['why', 'nobody', 'frontend', 'tcp/80'], /there is no pod default\/nobody \(see gingham get pods -A\)/],
    [['why', 'prod/frontend', 'backend', 'tcp/80'], /did you mean default\/frontend\?/],
    [['why', 'frontend', 'backend', 'quic/80'], /'quic\/80' is no service/],
    [['why', 'frontend', 'backend', 'tcp/ssh'], /default\/backend has no port named ssh/],
    [['why', 'other', 'backend', 'tcp/80', '-6'], /have no address of one family for this over IPv6/],
  ]
  for (const [args, pattern] of wrong) {
    const { code, err } = await gingham(args)
    assert.equal(code, 1)
    assert.match(err, pattern)
  }
})

test('why: what the staged policies would change, and what the kernel counted for that', async () => {
  const cause = 'staged: StagedNetworkPolicy default/shut ingress[0] Deny'
  const counted = { cause, direction: 'ingress', chain: 'outcome-1', packets: 9, bytes: 540 } as const
  const { gingham } = shell({ counters: { 'node-b': [counted] } })
  await gingham(['apply', '-f', '-'], WORLD)
  const staged = await gingham(
    ['apply', '-f', '-'],
    `
apiVersion: projectcalico.org/v3
kind: StagedNetworkPolicy
metadata: {name: shut, namespace: default}
spec: {selector: role == 'backend', ingress: [{action: Deny}]}
`,
  )
  assert.match(staged.err, /^Staged network policy 'shut' created in namespace 'default'. It is not enforced: see /)
  const { out } = await gingham(['why', 'other', 'backend', 'tcp/80'])
  assert.match(out, /^ALLOWED default\/other -> default\/backend/)
  assert.match(
    out,
    /\nif the staged policies were enforced: DENIED instead\n {2}ingress of default\/backend: DENIED by Stag/,
  )
  assert.match(out, /seen by the kernel on node-b: 9 packets, 540 bytes that would be decided in ingress by StagedNet/)
  const [answer] = JSON.parse((await gingham(['why', 'other', 'backend', 'tcp/80', '-o', 'json'])).out)
  assert.equal(answer.verdict, 'allow')
  assert.equal(answer.staged.verdict, 'deny')
  assert.match((await gingham(['get', 'snp'])).out, /^NAME +TIER\s+\nshut +default/)
})

test('why: how many packets came to the Log rules on the way', async () => {
  const rule = 'NetworkPolicy default/look ingress[0]'
  const counter = { direction: 'ingress', chain: 'outcome-1', bytes: 60 } as const
  const counters = [
    { ...counter, cause: `Log ${rule}`, packets: 1000 },
    { ...counter, cause: 'NetworkPolicy default/look ingress[1] Deny', packets: 1000 },
  ]
  const { gingham } = shell({ counters: { 'node-b': counters } })
  await gingham(['apply', '-f', '-'], WORLD)
  await gingham(
    ['apply', '-f', '-'],
    `
apiVersion: projectcalico.org/v3
kind: NetworkPolicy
metadata: {name: look, namespace: default}
spec: {selector: role == 'backend', ingress: [{action: Log}, {action: Deny}]}
`,
  )
  const { out } = await gingham(['why', 'other', 'backend', 'tcp/80'])
  assert.match(out, /\n {2}logged by {2}NetworkPolicy default\/look ingress\[0\]\n/)
  assert.ok(
    out.includes(
      `seen by the kernel on node-b: 1000 packets, 60 bytes that came in ingress to Log ${rule} (all flows)\n`,
    ),
    out,
  )
})

const HEALTHY: AgentStatus = {
  node: 'node-a',
  version: '0.1.0',
  pid: 7,
  uptimeSeconds: 130,
  ready: true,
  datastore: { connected: true, inSync: true, revision: 45 },
  dataplane: {
    programmed: true,
    programmedRevision: 45,
    lastWriteAt: '2026-01-01T00:00:00Z',
    table: 'gingham',
    endpoints: 2,
    atoms: 3,
    rows: 4,
    outcomes: 5,
    problems: [],
    readBack: { secondsAgo: 5 },
    proof: { secondsAgo: 20, proved: true, classes: 9 },
  },
  canary: { state: 'ok', sinceSeconds: 100, secondsAgo: 9, faults: [] },
  bgp: {
    established: 1,
    peers: [{ name: 'node-b', address: '172.31.0.2', state: 'Established', since: null, routes: 3 }],
  },
  pods: 2,
}

test('status: all well, and what is wrong with the fix', async () => {
  const well = await shell({ status: { 'node-a': { ok: true, value: HEALTHY } } }).gingham(['status'])
  assert.deepEqual(well, {
    code: 0,
    err: '',
    out: `NODE    STATE  DATASTORE        KERNEL              PROOF                             CANARY     POLICY                                    BGP  PODS  UP
node-a  ok     in sync, rev 45  programmed, rev 45  proved 20s ago, read back 5s ago  ok 9s ago  2 endpoints, 3 atoms, 4 rows, 5 outcomes  1/1  2     2m

1 of 1 nodes ready, 0 problems
`,
  })
  const sick: AgentStatus = {
    ...HEALTHY,
    ready: false,
    datastore: { connected: false, inSync: true, revision: 44 },
    dataplane: {
      ...HEALTHY.dataplane,
      problems: ['interface cali1 is gone'],
      proof: { secondsAgo: 7, proved: false, classes: 9 },
      lastEdit: { secondsAgo: 30, by: 'nft (pid 7)', what: ['chain x was deleted', 'chain y was deleted'] },
    },
    bgp: { established: 0, peers: [{ name: 'node-a', address: '172.31.0.1', state: 'Active' }] },
  }
  const { gingham } = shell({
    status: {
      'node-a': { ok: true, value: HEALTHY },
      'node-b': { ok: true, value: sick },
      'node-c': { ok: false, why: 'nobody listens' },
    },
  })
  const { code, out } = await gingham(['status'])
  assert.equal(code, 1)
  assert.match(out, /node-b {2}NOT READY/)
  assert.match(out, /node-b {2}the datastore is away; what was known at revision 44 stays enforced +fix: /)
  assert.match(out, /node-b {2}interface cali1 is gone\n/)
  assert.match(out, /node-b .* NOT PROVED 7s ago, read back 5s ago/)
  assert.match(out, /nft \(pid 7\) changed the policy table 30s ago: chain x was deleted and 1 more; it was put right/)
  assert.match(out, /node-b {2}BGP session with node-a \(172\.31\.0\.1\) is Active +fix: /)
  assert.match(out, /node-c {2}no answer: nobody listens +fix: /)
  assert.match(out, /\n1 of 3 nodes ready, 5 problems\n$/)
  const json = JSON.parse((await gingham(['status', '-o', 'json'])).out)
  assert.equal(json.nodes.length, 3)
  assert.equal((await shell().gingham(['status'])).code, 1)
})

test('status: what the canary met, with its reason and what to try, and for an hour after it is over', async () => {
  const faults = ['IPv4 allow: did not arrive']
  const lastFailure = { secondsAgo: 40, faults }
  const failed = {
    state: 'failed',
    sinceSeconds: 300,
    secondsAgo: 4,
    faults,
    why: 'x is not 1',
    fix: 'set x',
    lastFailure,
  }
  const rows: readonly (readonly [AgentStatus['canary'], RegExp])[] = [
    [{ ...failed, state: 'failed' }, / FAILED for 5m .*canary: IPv4 allow: did not arrive, x is not 1 +fix: set x\n/s],
    [{ ...failed, state: 'failed' }, / 1 problem\n$/],
    [{ ...HEALTHY.canary!, lastFailure }, /the canary failed 40s ago: IPv4 allow: did not arrive; it is over +fix: /],
    [{ ...HEALTHY.canary!, lastFailure: { ...lastFailure, secondsAgo: 3601 } }, / 0 problems\n$/],
    [null, / none /],
  ]
  for (const [canary, says] of rows) {
    const { gingham } = shell({ status: { 'node-a': { ok: true, value: { ...HEALTHY, canary } } } })
    assert.match((await gingham(['status'])).out, says)
    assert.match((await gingham(['status', '-o', 'yaml'])).out, /^ +canary:/m)
  }
})

test('status: a problem has the cure that fits it, or none when its text says enough', async () => {
  const rows: readonly (readonly [string, string])[] = [
    ['not proved: a queue to a program: tcp 10.0.0.1', 'the packets concerned are in the agent log'],
    ['not proved: table netdev foreign: every packet', 'it sees packets before the policy does: find out whose it is'],
    ['the kernel differs: allowed instead of denied', 'the agent puts its own table right'],
    ['routing: BGPPeer(tor).spec: names no peer', "see gingham get bgppeer and the router's side"],
    ['BIRD does not run: no routes are exchanged', 'see that bird is installed'],
    ['Node node-a has no BGP address (spec.bgp): no routes are exchanged', 'give the Node spec.bgp.ipv4Address'],
    ['NetworkPolicy a/b denies all: selector "x": expected', 'apply it corrected; it lets nothing through until then'],
    ['Tier x is not valid: spec: must be', 'apply it corrected; its last valid version stays in force'],
    ['writing the policy table failed: EPERM', 'read the agent log; the agent keeps trying'],
    ['2 remembered CNI requests were refused: see the log and /run/x/*.refused', ''],
    ['1 CNI DEL from before this agent could not be done yet; tried every 5 s', ''],
  ]
  for (const [problem, fix] of rows) {
    const dataplane = { ...HEALTHY.dataplane, problems: [problem] }
    const { gingham } = shell({ status: { 'node-a': { ok: true, value: { ...HEALTHY, dataplane } } } })
    const line = (await gingham(['status'])).out.split('\n').find(text => text.includes(problem)) ?? ''
    const shown = line.slice(line.indexOf(problem) + problem.length)
    assert.ok(fix === '' ? shown === '' : shown.startsWith(`  fix: ${fix}`), line)
  }
})

test('a node that the datastore knows and that has no agent is a problem', async () => {
  const { gingham } = shell({ status: { 'node-a': { ok: true, value: HEALTHY } } })
  const node = (name: string): string => `apiVersion: projectcalico.org/v3\nkind: Node\nmetadata: {name: ${name}}\n`
  await gingham(['apply', '-f', '-'], `${node('node-a')}---\n${node('node-b')}`)
  const { code, out } = await gingham(['status'])
  assert.equal(code, 1)
  assert.match(out, /node-b {2}DOWN/)
})

test('ipam show', async () => {
  const { gingham, store } = shell()
  const pool = 'apiVersion: projectcalico.org/v3\nkind: IPPool\nmetadata: {name: p}\nspec: {cidr: 10.20.0.0/16}\n'
  await gingham(['apply', '-f', '-'], pool)
  const holder = (node: string, pod: string) => ({
    handleId: `net.${pod}`,
    secondary: new Map([
      ['node', node],
      ['namespace', 'default'],
      ['pod', pod],
    ]),
    rest: {},
  })
  const empty = newBlock(prefix('10.20.247.0/26'), 'host:node-a', {
    rfc3339: '2026-01-01T00:00:00Z',
    unixNano: 1n,
  })
  const block = allocate(allocate(empty, [5], holder('node-a', 'x')), [6], holder('node-b', 'y'))
  await store.put(blockKey(block.cidr), encodeBlock(block))
  assert.equal(
    (await gingham(['ipam', 'show', '--show-blocks'])).out,
    `+----------+----------------+-----------+------------+--------------+--------------+
| GROUPING | CIDR           | IPS TOTAL | IPS IN USE | IPS RESERVED | IPS FREE     |
+----------+----------------+-----------+------------+--------------+--------------+
| IP Pool  | 10.20.0.0/16   |     65536 |     2 (0%) |       0 (0%) | 65534 (100%) |
| Block    | 10.20.247.0/26 |        64 |     2 (3%) |       0 (0%) |     62 (97%) |
+----------+----------------+-----------+------------+--------------+--------------+
`,
  )
  assert.equal(
    (await gingham(['ipam', 'show', '--ip', '10.20.247.5'])).out,
    'IP 10.20.247.5 is in use\nHandle ID: net.x\nActive Owner Attributes:\n  namespace: default\n  node: node-a\n  pod: x\n',
  )
  assert.equal((await gingham(['ipam', 'show', '--ip', '10.20.247.7'])).out, '10.20.247.7 is not assigned\n')
  assert.match(
    (await gingham(['ipam', 'show', '--show-borrowed'])).out,
    /\| 10\.20\.247\.6 \| node-b +\| 10\.20\.247\.0\/26 \| node-a +\| pod +\| default\/y +\|/,
  )
  assert.match((await gingham(['ipam', 'show', '--show-configuration'])).out, /\| StrictAffinity +\| false \|/)
})

test('IP reservations: apply, get, what ipam show counts, delete', async () => {
  const { gingham, store } = shell()
  const head = 'apiVersion: projectcalico.org/v3\nkind:'
  const pool = `${head} IPPool\nmetadata: {name: p}\nspec: {cidr: 10.20.0.0/26}\n`
  const reservation = `${head} IPReservation\nmetadata: {name: r}\nspec: {reservedCIDRs: [10.20.0.0/29, 10.20.0.9]}\n`
  assert.match(
    (await gingham(['apply', '-f', '-'], `${pool}---\n${reservation}`)).err,
    /IP reservation 'r' created\. Pods get no address of 10\.20\.0\.0\/29 and 10\.20\.0\.9 unless they ask for just that one/,
  )
  assert.ok(await store.get('/calico/resources/v3/projectcalico.org/ipreservations/r'))
  for (const name of ['ipreservation', 'ipreservations', 'reservation', 'reservations']) {
    assert.equal((await gingham(['get', name])).out, 'NAME   \nr      \n\n', name)
  }
  assert.equal(
    (await gingham(['get', 'ipreservation', '-o', 'wide'])).out,
    'NAME   CIDRS                    \nr      10.20.0.0/29,10.20.0.9   \n\n',
  )
  assert.match(
    (await gingham(['ipam', 'show'])).out,
    /\| IP Pool +\| 10\.20\.0\.0\/26 \| +64 \| +0 \(0%\) \| +9 \(14%\) \| +55 \(86%\) \|/,
  )
  assert.match((await gingham(['delete', 'ipreservation', 'r'])).err, /IP reservation 'r' deleted/)
  assert.match((await gingham(['ipam', 'show'])).out, /\| +0 \(0%\) \| 64 \(100%\) \|/)
})

test('version and help', async () => {
  const { gingham } = shell()
  assert.equal((await gingham(['version', '--client'])).out, 'Client Version:    v1.2.3\n')
  for (const command of ['apply', 'create', 'replace', 'delete', 'get', 'validate', 'why', 'status', 'version']) {
    const { code, out } = await gingham([command, '--help'])
    assert.equal(code, 0)
    assert.match(out, /Examples:\n {2}gingham /, command)
  }
})
