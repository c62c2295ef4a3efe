// The network that a host gets from us, run as a container runtime does: our plugin, then the reference plugins portmap and
// bandwidth behind it, each told what the one before it answered. A host's port leads to the pod, and policy judges who
// comes over it by the address that he comes from.
import assert from 'node:assert/strict'
import { execFileSync, spawnSync } from 'node:child_process'
import { existsSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { after, before, test } from 'node:test'
import { Lab } from '../../src/apps/lab/lab.ts'
import { NODES, names } from '../../src/apps/lab/plan.ts'
import { RunFolder } from '../../src/apps/lab/run-folder.ts'
import { plain, Steps } from '../../src/apps/lab/terminal.ts'
import { CHAINED_PLUGINS, PLUGIN_NAMES, printNetworkList } from '../../src/core/cni/network-list.ts'
import { FAMILIES } from '../../src/core/net/addr.ts'
import { hostPrefix } from '../../src/core/net/prefix.ts'
import { inNetns, namedNetns } from '../../src/io/kernel/netns.ts'
import { ProbeHost } from '../../src/io/kernel/probe-sockets.ts'
import { PLUGINS } from './cni-node.ts'

const PREFIX = `gn${process.pid}`
const RUN = `/run/gingham-chain-${process.pid}`
const MS = 1500
const NODE = NODES[0]!
const [HOST_PORT, POD_PORT] = [8080, 8000]
const missing = CHAINED_PLUGINS.filter(name => !existsSync(path.join(PLUGINS, name)))
const skip = missing.length > 0 ? `there is no ${missing.join(', ')} in ${PLUGINS}` : false
let lab: Lab

before(async () => {
  if (skip) return
  lab = new Lab(await RunFolder.claim(RUN, PREFIX), PREFIX, new Steps(() => {}, plain))
  await lab.build()
})
after(async () => {
  await lab?.stop()
  await lab?.folder.cleanUp()
})

/** What a runtime is told of one pod, by the capability that a plugin must declare to hear of it. */
const RUNTIME: Readonly<Record<string, unknown>> = {
  portMappings: [{ hostPort: HOST_PORT, containerPort: POD_PORT, protocol: 'tcp' }],
  bandwidth: { ingressRate: 800_000_000, ingressBurst: 80_000_000, egressRate: 800_000_000, egressBurst: 80_000_000 },
}
type Plugin = { readonly type: string; readonly capabilities?: Readonly<Record<string, boolean>> }
type Printed = { readonly interfaces: readonly { readonly name: string }[]; readonly ips: readonly object[] }

/** A container runtime's part: every plugin of the list in the node's namespace, in turn. */
class Runtime {
  readonly #list = JSON.parse(printNetworkList({ families: { ipv4: true, ipv6: true } }))
  readonly #variables: Readonly<Record<string, string>>
  readonly #own: string
  #result: Printed | undefined

  constructor(pod: string, netns: string) {
    this.#own = path.join(lab.folder.folder(NODE.name), 'cni-bin')
    this.#variables = {
      PATH: process.env.PATH ?? '',
      CNI_CONTAINERID: 'c-chain',
      CNI_NETNS: netns,
      CNI_IFNAME: 'eth0',
      CNI_ARGS: `IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=${pod}`,
      CNI_PATH: `${this.#own}:${PLUGINS}`,
    }
  }

  add(): Printed {
    for (const plugin of this.#list.plugins) this.#result = JSON.parse(this.#run('ADD', plugin))
    return this.#result!
  }

  /** All but portmap, which up to 1.1.1 looks for the rules of IPv4 among those of IPv6 where a pod has both. */
  check(): void {
    for (const plugin of this.#list.plugins) if (plugin.type !== 'portmap') this.#run('CHECK', plugin)
  }

  del(): void {
    for (const plugin of this.#list.plugins.toReversed()) this.#run('DEL', plugin)
  }

  #run(command: string, { capabilities = {}, ...plugin }: Plugin): string {
    const { name, cniVersion } = this.#list
    const runtimeConfig = Object.fromEntries(Object.keys(capabilities).map(key => [key, RUNTIME[key]]))
    const config = { name, cniVersion, ...plugin, runtimeConfig, ...(this.#result && { prevResult: this.#result }) }
    // The lab's nodes share a disk, so that each has our plugin in a folder of its own.
    const isOwn = PLUGIN_NAMES.some(own => own === plugin.type)
    const program = isOwn ? path.join(this.#own, PLUGIN_NAMES[0]) : path.join(PLUGINS, plugin.type)
    const env = { ...this.#variables, CNI_COMMAND: command }
    const { status, stdout, stderr } = inNetns(namedNetns(names(PREFIX).node(NODE.name)), () =>
      spawnSync(program, { env, input: JSON.stringify(config), encoding: 'utf8' }),
    )
    assert.equal(status, 0, `${plugin.type} ${command}: ${stdout}${stderr}`)
    return stdout
  }
}

async function use(verb: 'apply' | 'delete', document: string): Promise<void> {
  const file = path.join(RUN, 'chain.yaml')
  writeFileSync(file, document)
  await lab.use(verb, file)
}

test('a host port leads through portmap and bandwidth to the pod, and policy judges who comes', { skip }, async t => {
  const node = names(PREFIX).node(NODE.name)
  const pod = { namespace: 'default', name: 'chained', node: NODE.name }
  await use(
    'apply',
    `{apiVersion: v1, kind: Pod, metadata: {name: chained, namespace: default, labels: {app: chained}}, spec: {nodeName: ${NODE.name}}}`,
  )
  const netns = lab.pods.prepare(pod)
  const runtime = new Runtime(pod.name, namedNetns(netns))
  const result = runtime.add()
  assert.deepEqual(result.ips.length, 2)
  const hostEnd = result.interfaces[0]!.name
  runtime.check()

  const server = new ProbeHost(namedNetns(netns))
  const [near, far] = [names(PREFIX).router, names(PREFIX).node('node-c')].map(name => new ProbeHost(namedNetns(name)))
  t.after(() => {
    for (const host of [server, near!, far!]) host.close()
  })
  server.listenTcp(POD_PORT)
  const hosts = [near!, far!]
  const reached = () =>
    Promise.all(FAMILIES.flatMap(family => hosts.map(host => host.connectTcp(NODE.address[family], HOST_PORT, MS))))
  assert.deepEqual(await reached(), ['open', 'open', 'open', 'open'], 'no policy selects the pod')
  const rules = FAMILIES.map(
    family =>
      `{action: Allow, protocol: TCP, source: {nets: ["${hostPrefix(NODES[2]!.address[family])}"]}, destination: {ports: [${POD_PORT}]}}`,
  )
  const policy = `{apiVersion: projectcalico.org/v3, kind: NetworkPolicy, metadata: {name: chained, namespace: default}, spec: {selector: app == 'chained', ingress: [${rules.join(', ')}]}}`
  await use('apply', policy)
  assert.deepEqual(
    await reached(),
    ['timeout', 'open', 'timeout', 'open'],
    'by the address that he comes from, and the pod’s own port',
  )
  const shaped = execFileSync('tc', ['-n', node, 'qdisc', 'show', 'dev', hostEnd], { encoding: 'utf8' })
  assert.match(shaped, /qdisc tbf .* rate 800Mbit/)
  await use('delete', policy)
  assert.deepEqual(await reached(), ['open', 'open', 'open', 'open'])

  runtime.del()
  runtime.del()
  assert.ok((await reached()).every(outcome => outcome !== 'open'))
  const links = execFileSync('ip', ['-n', node, '-o', 'link'], { encoding: 'utf8' })
  assert.doesNotMatch(links, new RegExp(`${hostEnd}|ifb|bwp`), 'neither the pod’s link nor what shaped it is left')
  lab.pods.forget(pod)
})
