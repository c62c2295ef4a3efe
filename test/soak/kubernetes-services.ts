// kube-proxy beside us, in both its modes, on a real cluster: cluster addresses, node ports with either traffic policy, session
// affinity, and a pod that calls itself through its service. Servers say who they are and whom they see; policy judges the pod
// that a packet goes to and the source that it still has, as it does with Calico.
import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { setTimeout as delay } from 'node:timers/promises'
import { readText } from '../../src/apps/lab/cluster.ts'
import { type KubernetesLab, PAUSE_IMAGE } from '../../src/apps/lab/kubernetes/lab.ts'
import type { ProxyMode } from '../../src/apps/lab/kubernetes/node-files.ts'
import { NODES, names, OUTSIDE } from '../../src/apps/lab/plan.ts'
import type { WiredPod } from '../../src/apps/lab/pods.ts'
import { familyOf } from '../../src/core/net/addr.ts'
import { onLab, runRound, steps } from '../support/kubernetes-round.ts'

const PREFIX = 'gservices'
const PORT = 8080
const NODE_PORT = { cluster: 30080, local: 30081 } as const
/** A denial costs the whole of it. */
const PATIENCE_MS = 1500

const pod = (name: string, node: string, labels: Record<string, string>): object => ({
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: { name, labels },
  spec: { nodeName: node, terminationGracePeriodSeconds: 0, containers: [{ name: 'main', image: PAUSE_IMAGE }] },
})
const service = (name: string, app: string, more: object, nodePort?: number): object => ({
  apiVersion: 'v1',
  kind: 'Service',
  metadata: { name },
  spec: { selector: { app }, ports: [{ port: 80, targetPort: PORT, ...(nodePort && { nodePort }) }], ...more },
})
const policy = (name: string, selector: string, spec: object): object => ({
  apiVersion: 'projectcalico.org/v3',
  kind: 'NetworkPolicy',
  metadata: { name, namespace: 'default' },
  spec: { selector, ...spec },
})

const OBJECTS: readonly object[] = [
  pod('web-a', 'node-a', { app: 'web' }),
  pod('web-b', 'node-b', { app: 'web' }),
  pod('self', 'node-c', { app: 'self' }),
  pod('client', 'node-a', { role: 'client' }),
  pod('limited', 'node-b', { role: 'limited' }),
  pod('other', 'node-c', { role: 'other' }),
  service('web', 'web', {}),
  service('sticky', 'web', { sessionAffinity: 'ClientIP' }),
  service('self', 'self', {}),
  service('open', 'web', { type: 'NodePort' }, NODE_PORT.cluster),
  service('near', 'web', { type: 'NodePort', externalTrafficPolicy: 'Local' }, NODE_PORT.local),
  // One that calls: only web's pods, by label; after translation that is where its packets go.
  policy('limited', "role == 'limited'", {
    types: ['Egress'],
    egress: [{ action: 'Allow', protocol: 'TCP', destination: { selector: "app == 'web'" } }],
  }),
]

const allowTo = (app: string, ...sources: readonly object[]): object =>
  policy(app, `app == '${app}'`, {
    types: ['Ingress'],
    ingress: sources.map(source => ({ action: 'Allow', protocol: 'TCP', source, destination: { ports: [PORT] } })),
  })

const inNetns = (netns: string, script: string): [string, string[]] => [
  'nsenter',
  [`--net=${netns.startsWith('/') ? netns : `/run/netns/${netns}`}`, process.execPath, '-e', script],
]

/** A server that says its name and whom it sees. */
async function serve(name: string, netns: string): Promise<ChildProcess> {
  const script = `require('node:net').createServer(s => { s.on('error', () => {}); s.end('${name} ' + s.remoteAddress.replace('::ffff:', '')) }).listen(${PORT}, '0.0.0.0', () => console.log('up'))`
  const child = spawn(...inNetns(netns, script), { stdio: ['ignore', 'pipe', 'inherit'] })
  await once(child.stdout!, 'data')
  return child
}

/** What a caller hears: `web-a 10.0.0.1`, `timeout`, or `refused`. */
function call(netns: string, address: string, port: number): Promise<string> {
  const script = `const s = require('node:net').connect(${port}, '${address}'); let t = ''; s.setTimeout(${PATIENCE_MS}, () => { console.log('timeout'); process.exit() }); s.on('data', d => t += d); s.on('end', () => console.log(t)); s.on('error', e => console.log(e.code === 'ECONNREFUSED' ? 'refused' : e.code))`
  return new Promise((resolve, reject) =>
    execFile(...inNetns(netns, script), (error, stdout) => (error ? reject(error) : resolve(stdout.trim()))),
  )
}

class Services {
  readonly #lab: KubernetesLab
  readonly #pods: ReadonlyMap<string, WiredPod>
  readonly faults: string[] = []
  calls = 0

  constructor(lab: KubernetesLab, pods: readonly WiredPod[]) {
    this.#lab = lab
    this.#pods = new Map(pods.map(p => [p.name, p]))
  }

  netns(name: string): string {
    return name === 'outside' ? names(PREFIX).router : this.#pods.get(name)!.netns
  }

  address(name: string): string {
    return this.#pods.get(name)!.addresses.find(a => familyOf(a) === 4)!
  }

  async clusterIp(name: string): Promise<string> {
    return this.#lab.cluster.kubectl('get', 'service', name, '-o', 'jsonpath={.spec.clusterIP}')
  }

  async apply(...objects: readonly object[]): Promise<void> {
    const list = { apiVersion: 'v1', kind: 'List', items: objects }
    await this.#lab.cluster.kubectlWith(JSON.stringify(list), 'apply', '-f', '-')
    await this.#lab.settled()
  }

  /** `answers`: each must be heard at least once, and nothing else. */
  async expect(
    what: string,
    from: string,
    at: { address: string; port?: number; times?: number },
    answers: readonly string[],
  ) {
    const heard = new Set<string>()
    for (let i = 0; i < (at.times ?? 1); i++) {
      heard.add(await call(this.netns(from), at.address, at.port ?? 80))
      this.calls++
    }
    const [is, should] = [[...heard].sort().join(', '), [...answers].sort().join(', ')]
    if (is !== should) this.faults.push(`${what}: ${is} and not ${should}`)
  }
}

/** An IPv4 address of a node, as pods see a connection that the node has given its own source. */
const nodeAddress = (name: string): string => NODES.find(n => n.name === name)!.address[4]

async function judge(s: Services): Promise<void> {
  const [web, sticky, self] = await Promise.all(['web', 'sticky', 'self'].map(name => s.clusterIp(name)))
  const [client, limited] = ['client', 'limited'].map(name => s.address(name))
  const both = (seen: string): string[] => [`web-a ${seen}`, `web-b ${seen}`]
  const TRIES = 24

  await s.expect('a cluster address without policy', 'client', { address: web!, times: TRIES }, both(client!))
  await s.apply(allowTo('web', { selector: "role in {'client', 'limited'}" }))
  await s.expect('one that is allowed', 'client', { address: web!, times: TRIES }, both(client!))
  await s.expect('one that is not', 'other', { address: web!, times: 4 }, ['timeout'])
  await s.expect('egress to pods of the service', 'limited', { address: web!, times: TRIES }, both(limited!))
  await s.expect('egress to another service', 'limited', { address: self!, times: 2 }, ['timeout'])
  const first = await call(s.netns('client'), sticky!, 80)
  await s.expect('session affinity', 'client', { address: sticky!, times: TRIES }, [first])

  // From outside: who comes through another node has that node's address, unless only pods of the node are asked.
  const outside = OUTSIDE[4]
  const [a, b, c] = ['node-a', 'node-b', 'node-c'].map(nodeAddress)
  await s.expect('a node port under a policy for pods', 'outside', { address: a!, port: NODE_PORT.cluster, times: 6 }, [
    'timeout',
  ])
  const router = { a: '172.30.1.1', c: '172.30.2.1' }
  await s.apply(allowTo('web', { nets: [`${router.a}/32`, `${router.c}/32`, `${outside}/32`] }))
  await s.expect('a local node port', 'outside', { address: a!, port: NODE_PORT.local, times: 6 }, [
    `web-a ${router.a}`,
  ])
  await s.expect('a local node port', 'outside', { address: b!, port: NODE_PORT.local, times: 6 }, [
    `web-b ${router.a}`,
  ])
  await s.expect('a local node port without a pod', 'outside', { address: c!, port: NODE_PORT.local, times: 3 }, [
    'timeout',
  ])
  await s.expect('a node port, masqueraded', 'outside', { address: c!, port: NODE_PORT.cluster, times: 6 }, ['timeout'])
  await s.apply(allowTo('web', { nets: [`${c}/32`] }))
  await s.expect(
    'a node port by its node’s address',
    'outside',
    { address: c!, port: NODE_PORT.cluster, times: TRIES },
    both(c!),
  )
  await s.expect('a local node port by the client’s', 'outside', { address: a!, port: NODE_PORT.local, times: 3 }, [
    'timeout',
  ])

  // A pod that calls itself: judged as from itself to itself, whatever source the node gives it then.
  await s.expect('hairpin', 'self', { address: self!, times: 3 }, [`self ${c}`])
  await s.apply(allowTo('self', { selector: "role == 'client'" }))
  await s.expect('hairpin, denied', 'self', { address: self!, times: 3 }, ['timeout'])
  await s.expect('another to it', 'client', { address: self!, times: 3 }, [`self ${client}`])
  await s.apply(allowTo('self', { selector: "app == 'self'" }))
  await s.expect('hairpin, allowed', 'self', { address: self!, times: 3 }, [`self ${c}`])
  await s.expect('nobody else', 'other', { address: self!, times: 3 }, ['timeout'])
}

/** In iptables' mode the proof cannot read kube-proxy's rules: it says so, in few lines. */
async function proofs(lab: KubernetesLab, proxy: ProxyMode): Promise<string[]> {
  const faults: string[] = []
  for (const [node, socket] of lab.agents) {
    type Status = { dataplane: { proof: { proved: boolean } | null; problems: string[] } }
    let status: Status
    const deadline = performance.now() + 90_000
    do {
      await delay(1000)
      status = JSON.parse(await readText(socket, '/status')) as Status
    } while (status.dataplane.proof?.proved !== (proxy === 'nftables') && performance.now() < deadline)
    const said = status.dataplane.problems.filter(problem => problem.startsWith('not proved: '))
    for (const line of said) steps.say(`${node}: ${line}`)
    if (proxy === 'nftables' ? !status.dataplane.proof?.proved : said.length === 0)
      faults.push(`${node}: ${JSON.stringify(status.dataplane.proof)}, ${said.length} lines of what is not proved`)
    const other = status.dataplane.problems.filter(problem => !problem.startsWith('not proved: '))
    if (other.length > 0 || said.length > 4) faults.push(`${node}: ${[...other, ...said].join('; ')}`)
  }
  return faults
}

const round = (proxy: ProxyMode): Promise<number> =>
  onLab({ prefix: PREFIX, proxy }, async lab => {
    const servers: ChildProcess[] = []
    try {
      const list = JSON.stringify({ apiVersion: 'v1', kind: 'List', items: OBJECTS })
      await lab.cluster.kubectlWith(list, 'apply', '-f', '-')
      await lab.cluster.kubectl('wait', '--for=condition=Ready', 'pod', '--all', '--timeout=60s')
      await lab.routed()
      await lab.settled()
      const services = new Services(lab, await lab.readPods())
      for (const name of ['web-a', 'web-b', 'self']) servers.push(await serve(name, services.netns(name)))
      await judge(services)
      services.faults.push(...(await proofs(lab, proxy)))
      console.log(
        `kubernetes-services, kube-proxy by ${proxy}: ${services.calls} calls, ${services.faults.length} faults`,
      )
      for (const fault of services.faults) console.log(`   FAULT: ${fault}`)
      return services.faults.length
    } finally {
      for (const server of servers) server.kill()
    }
  })

await runRound('kubernetes-services', async () => (await round('nftables')) + (await round('iptables')))
