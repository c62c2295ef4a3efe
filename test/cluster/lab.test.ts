// The whole road as `npm start` takes it: three nodes, real BGP, pods by CNI, and each example policy applied with the
// command line, summarised in plain words, and judged on real packets between all pods.
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { after, before, test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { example, gingham } from '../../src/apps/lab/commands.ts'
import { Lab } from '../../src/apps/lab/lab.ts'
import { difference, type Probe, summarise } from '../../src/apps/lab/matrix.ts'
import { NODES, names } from '../../src/apps/lab/plan.ts'
import { RunFolder } from '../../src/apps/lab/run-folder.ts'
import { plain, Steps } from '../../src/apps/lab/terminal.ts'
import { familyOf } from '../../src/core/net/addr.ts'

const PREFIX = `gt${process.pid}`
const RUN = `/run/gingham-test-${process.pid}`
let lab: Lab

before(async () => {
  const folder = await RunFolder.claim(RUN, PREFIX)
  lab = new Lab(folder, PREFIX, new Steps(text => process.stdout.write(`# ${text}`), plain))
  await lab.build()
})

after(async () => {
  await lab?.stop()
  await lab?.folder.cleanUp()
  assert.ok(!existsSync(RUN), 'the run folder is gone')
  assert.deepEqual(
    readdirSync('/run/netns').filter(name => name.startsWith(`${PREFIX}-`)),
    [],
  )
})

function assertAsExpected(probes: readonly Probe[]): void {
  const wrong = probes.filter(p => difference(p) !== undefined)
  assert.deepEqual(wrong.slice(0, 5), [], `${wrong.length} of ${probes.length} probes went otherwise than expected`)
}

test('without policy every pod reaches every other, both families, TCP, UDP and ICMP', async () => {
  const probes = await lab.probe()
  assert.equal(probes.length, 720)
  assert.equal(summarise(probes).denied, 0)
})

/** Each example, what its summary must say, and whether it denies anything between the lab's pods. */
const EXAMPLES: readonly { file: string; says: readonly RegExp[] }[] = [
  {
    file: 'allow-backend-to-frontend.yaml',
    says: [
      /^Network policy 'allow-backend-to-frontend' created in namespace 'default'\. It restricts ingress and egress traffic to pods labeled 'role=frontend' to only communicate with pods labeled 'role=backend'\.$/m,
    ],
  },
  { file: 'egress-to-known-networks.yaml', says: [/created/] },
  { file: 'isolate-namespace.yaml', says: [/created/] },
  { file: 'ports-and-ping.yaml', says: [/created/] },
  { file: 'quarantine-tier.yaml', says: [/created/] },
  {
    file: 'kubernetes-network-policy.yaml',
    says: [
      /^Kubernetes' network policy 'default-deny-ingress' created in namespace 'prod'\. It isolates all pods of the namespace: no ingress traffic is allowed unless another policy allows it\.$/m,
    ],
  },
  {
    file: 'cluster-network-policy.yaml',
    says: [/^Cluster network policy 'prod-apart' created\. .* It is judged only where/m],
  },
]

for (const { file, says } of EXAMPLES) {
  test(`examples/${file}: a right summary and a right matrix`, async () => {
    const said = await lab.use('create', example(file))
    try {
      for (const pattern of says) assert.match(said.stderr, pattern)
      const probes = await lab.probe()
      assertAsExpected(probes)
      const { allowed, denied } = summarise(probes)
      console.log(`# ${file}: ${allowed} allowed, ${denied} denied`)
      assert.ok(denied > 0 && allowed > 0, 'the policy makes a difference')
    } finally {
      await lab.use('delete', example(file))
    }
  })
}

const SERVICE_POLICY = `apiVersion: projectcalico.org/v3
kind: NetworkPolicy
metadata: {name: client-to-web}
spec:
  selector: role == 'client'
  types: [Egress]
  egress:
  - action: Allow
    destination: {services: {name: web}}
`

test('a rule that names a service means its endpoints and their ports, and follows its slices', async () => {
  const file = path.join(RUN, 'service.yaml')
  const slices = (names: readonly string[], port: number): string =>
    ([4, 6] as const)
      .map(family => {
        const pods = lab.wired.filter(pod => pod.namespace === 'default' && names.includes(pod.name))
        const endpoints = pods.map(pod => ({ addresses: pod.addresses.filter(a => familyOf(a) === family) }))
        return JSON.stringify({
          apiVersion: 'discovery.k8s.io/v1',
          kind: 'EndpointSlice',
          metadata: { name: `web-${family}`, labels: { 'kubernetes.io/service-name': 'web' } },
          addressType: `IPv${family}`,
          endpoints,
          ports: [{ port }],
        })
      })
      .join('\n---\n')
  const allowed = async (): Promise<string[]> => {
    const probes = await lab.probe()
    assertAsExpected(probes)
    const mine = probes.filter(p => p.from === 'default/client' && p.observed === 'allow')
    return mine.map(({ to, what }) => `${to} ${what}`).sort()
  }
  const both = (to: string, port: number): string[] => [`${to} tcp/${port} IPv4`, `${to} tcp/${port} IPv6`]
  writeFileSync(file, `${SERVICE_POLICY}---\n${slices(['backend'], 8080)}`)
  await lab.use('apply', file)
  try {
    assert.deepEqual(await allowed(), both('default/backend', 8080))
    writeFileSync(file, slices(['backend', 'backend-2'], 8080))
    await lab.use('apply', file)
    assert.deepEqual(await allowed(), [...both('default/backend', 8080), ...both('default/backend-2', 8080)].sort())
    writeFileSync(file, slices(['backend-2'], 80))
    await lab.use('apply', file)
    assert.deepEqual(await allowed(), both('default/backend-2', 80))
  } finally {
    writeFileSync(file, `${SERVICE_POLICY}---\n${slices([], 80)}`)
    await lab.use('delete', file)
  }
})

const LOG_POLICY = `apiVersion: projectcalico.org/v3
kind: NetworkPolicy
metadata: {name: look}
spec:
  selector: role == 'backend'
  types: [Ingress]
  ingress:
  - {action: Log, protocol: TCP}
  - {action: Allow}
`

test('a Log rule writes lines into the log of the agent whose node the packets reach, and tells how many came', async () => {
  const file = path.join(RUN, 'log.yaml')
  writeFileSync(file, LOG_POLICY)
  await lab.use('apply', file)
  try {
    assertAsExpected(await lab.probe())
    const rule = 'NetworkPolicy default/look ingress[0]'
    const backend = lab.wired.find(pod => pod.namespace === 'default' && pod.name === 'backend')!
    const log = path.join(RUN, 'log', `agent-${backend.node}.json`)
    type Line = { readonly rule?: string; readonly msg: string }
    const lines = (): Line[] =>
      readFileSync(log, 'utf8')
        .trimEnd()
        .split('\n')
        .map(line => JSON.parse(line) as Line)
        .filter(line => line.rule !== undefined)
    const mine = (): Line[] => lines().filter(line => backend.addresses.some(a => line.msg.includes(`DST=${a} `)))
    // They came all at once: most are past the limit.
    for (const end = performance.now() + 10_000; mine().length === 0; await delay(50))
      assert.ok(performance.now() < end, 'no line')
    for (const line of lines()) assert.equal(line.rule, rule)
    assert.match(mine()[0]!.msg, /^calico-packet: IN=\S+ OUT=cali\w+ MAC=\S+ SRC=[\d.]+ DST=\S+ LEN=.* PROTO=TCP /)
    const why = await gingham(RUN, 'why', 'default/frontend', 'default/backend', 'tcp/80')
    assert.match(why.stdout, /: \d+ packets, \d+ bytes that came in ingress to Log NetworkPolicy default\/look/)
    const metrics = await lab.metrics(backend.node)
    const value = (name: string): number => Number(new RegExp(`^${name} (\\d+)$`, 'm').exec(metrics)?.[1])
    // Ports 80 and 8080, two families, from each of the other pods.
    assert.ok(value('gingham_log_packets_total') >= (lab.wired.length - 1) * 4)
    assert.ok(value('gingham_log_lines_total') >= mine().length)
    assert.equal(value('gingham_log_lost_total'), 0)
  } finally {
    await lab.use('delete', file)
  }
})

test('after the policies are gone everything passes again, and nft lists every node’s rules', async () => {
  assert.equal(summarise(await lab.probe()).denied, 0)
  for (const { name } of NODES) {
    const args = ['netns', 'exec', names(PREFIX).node(name), 'nft', 'list', 'ruleset']
    assert.match(execFileSync('ip', args, { encoding: 'utf8' }), /table inet gingham/)
  }
})

test('a dead agent leaves its pods guarded, and the next one takes over without a write', async () => {
  await lab.use('create', example('allow-backend-to-frontend.yaml'))
  try {
    const before = await lab.probe()
    assertAsExpected(before)
    await lab.killAgent('node-a')
    const verdicts = (probes: readonly Probe[]): string[] => probes.map(p => p.observed)
    assert.deepEqual(verdicts(await lab.probe()), verdicts(before), 'verdicts are the same while no agent runs')
    await lab.startAgent('node-a')
    assertAsExpected(await lab.probe())
    const metrics = await lab.metrics('node-a')
    assert.match(metrics, /^felix_nft_calls 0$/m, 'a restart onto a right table writes nothing')
  } finally {
    await lab.use('delete', example('allow-backend-to-frontend.yaml'))
  }
})

test('the command line answers what the lab suggests to try', async () => {
  const why = await gingham(RUN, 'why', 'default/frontend', 'default/backend', 'tcp/80')
  assert.equal(why.code, 0, why.stderr)
  assert.match(why.stdout, /ALLOWED/)
  const status = await gingham(RUN, 'status')
  assert.equal(status.code, 0, status.stdout + status.stderr)
  for (const { name } of NODES) assert.match(status.stdout, new RegExp(name))
  // Nothing of what was written was found otherwise when it was read back, by any agent.
  assert.match(status.stdout, /3 of 3 nodes ready, 0 problems/)
  const ipam = await gingham(RUN, 'ipam', 'show', '--show-blocks')
  assert.equal(ipam.code, 0, ipam.stderr)
  assert.match(ipam.stdout, /192\.168\.0\.0\/16/)
})
