// A node for tests of the CNI plugin: a namespace of its own, the datastore in memory, the kernel real. Requests go in as
// the client sends them; connections between pods show what the wiring is good for.
import assert from 'node:assert/strict'
import type { TestContext } from 'node:test'
import pino from 'pino'
import { type CniDeps, CniService } from '../../src/apps/agent/cni.ts'
import { sha1Hex } from '../../src/core/base/hash.ts'
import { addr } from '../../src/core/net/addr.ts'
import { decodeResource } from '../../src/core/resources/resource.ts'
import { readHandleAddresses } from '../../src/io/cni/handles.ts'
import { openIpam } from '../../src/io/ipam/ipam.ts'
import { inNetns } from '../../src/io/kernel/netns.ts'
import * as sys from '../../src/io/kernel/sys.ts'
import { writeSysctl } from '../../src/io/kernel/sysctl.ts'
import { ensureInitialized } from '../../src/io/store/initialize.ts'
import { openMemory } from '../../src/io/store/memory.ts'
import { ResourceClient } from '../../src/io/store/resource-client.ts'
import { freshNetns, runIn } from '../kernel/netns.ts'

export type Netns = { readonly name: string; readonly path: string }
type Legacy = { readonly ip: string; readonly gateway: string; readonly routes: readonly object[] }
/** What the plugin printed: a result of any version, or an error. */
export type Printed = {
  readonly cniVersion: string
  readonly interfaces: readonly {
    readonly name: string
    readonly mac: string
    readonly sandbox?: string
    readonly mtu?: number
  }[]
  readonly ips: readonly {
    readonly address: string
    readonly gateway: string
    readonly interface: number
    readonly version?: string
  }[]
  readonly ip4: Legacy
  readonly ip6: Legacy
  readonly code: number
  readonly msg: string
  readonly details: string
}
/** `json` is the body decoded; empty when nothing was printed. */
type Answer = { readonly ok: boolean; readonly body: string; readonly json: Printed }

export const NETWORK = 'k8s-pod-network'
/** Debian's reference plugins. */
export const PLUGINS = '/usr/lib/cni'
const IPV6_POOL = 'fd00:10::/112'

export function resource(document: object) {
  const decoded = decodeResource(document)
  assert.ok(decoded.ok, JSON.stringify(decoded))
  return decoded.value
}

export class Cluster {
  readonly node: Netns
  readonly store = openMemory()
  readonly resources = new ResourceClient(this.store)
  readonly waited: string[] = []
  /** What ADD's wait for policy does. */
  programmed: () => Promise<void> = async () => {}
  service: CniService
  deps: CniDeps

  constructor(t: TestContext) {
    this.node = freshNetns(t)
    writeSysctl('net/ipv4/ip_forward', 1, this.node.path)
    writeSysctl('net/ipv6/conf/all/forwarding', 1, this.node.path)
    this.deps = {
      node: 'node-a',
      resources: this.resources,
      ipam: openIpam(this.store, { now: () => new Date() }),
      waitProgrammed: async (endpoint, addresses) => {
        this.waited.push(`${endpoint} ${addresses.join(' ')}`)
        await this.programmed()
      },
      log: pino({ level: 'silent' }),
      now: () => new Date(),
      hostNetns: this.node.path,
    }
    this.service = new CniService(this.deps)
  }

  static async make(t: TestContext): Promise<Cluster> {
    const cluster = new Cluster(t)
    await ensureInitialized(cluster.resources)
    await cluster.resources.create(
      resource({
        kind: 'IPPool',
        apiVersion: 'projectcalico.org/v3',
        metadata: { name: 'six' },
        spec: { cidr: IPV6_POOL },
      }),
    )
    return cluster
  }

  async pod(name: string, annotations: Record<string, string> = {}, nodeName = 'node-a'): Promise<void> {
    const metadata = { name, namespace: 'default', annotations }
    await this.resources.create(resource({ kind: 'Pod', apiVersion: 'v1', metadata, spec: { nodeName } }))
  }

  annotations = async (name: string) =>
    (await this.resources.get('Pod', { namespace: 'default', name })).metadata.annotations ?? {}

  async call(command: string, options: CallOptions = {}): Promise<Answer> {
    const { pod, netns, container = 'c1', args, config = {}, pluginPath = PLUGINS } = options
    const given = args ?? (pod ? `IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=${pod};K8S_POD_UID=1` : '')
    const headers = {
      'cni-command': command,
      'cni-containerid': container,
      'cni-ifname': 'eth0',
      'cni-args': encodeURIComponent(given),
      'cni-path': pluginPath,
      ...(netns === undefined ? {} : { 'cni-netns': netns }),
    }
    const ipam = { type: 'calico-ipam', assign_ipv4: 'true', assign_ipv6: 'true' }
    const body = JSON.stringify({ cniVersion: '1.0.0', name: NETWORK, type: 'calico', ipam, ...config })
    const answer = await this.service.handle(headers, body)
    return { ...answer, json: JSON.parse(answer.body || '{}') as Printed }
  }

  async added(options: CallOptions): Promise<Printed> {
    const answer = await this.call('ADD', options)
    assert.ok(answer.ok, answer.body)
    return answer.json
  }

  held = (container: string) => readHandleAddresses(this.store, `${NETWORK}.${container}`)

  links = (): string[] =>
    (JSON.parse(runIn(this.node.name, 'ip', '-j', 'link')) as { ifname: string }[]).map(link => link.ifname)
}

export type CallOptions = {
  readonly pod?: string
  readonly netns?: string
  readonly container?: string
  readonly args?: string
  readonly config?: object
  readonly pluginPath?: string
}

export const hostEnd = (pod: string): string => `cali${sha1Hex(`default.${pod}`).slice(0, 11)}`
export const addressesIn = (result: Printed): string[] => result.ips.map(ip => ip.address.replace(/\/.*/, ''))

/** A TCP connection from one namespace to another's address; true if it is established at once. */
export async function connects(from: Netns, to: Netns, address: string, port: number): Promise<boolean> {
  const family = address.includes(':') ? sys.AF.INET6 : sys.AF.INET
  const target = sys.inetAddress(addr(address), port)
  const listener = inNetns(to.path, () => sys.socket(family, sys.SOCK.STREAM, 0))
  const client = inNetns(from.path, () => sys.socket(family, sys.SOCK.STREAM, 0))
  try {
    sys.bind(listener, target)
    sys.listen(listener, 8)
    if (!sys.connect(client, target) && !(await sys.whenReady(client, sys.WRITABLE, 5000))) return false
    return sys.getOption(client, sys.SOL.SOCKET, sys.SO.ERROR) === 0
  } finally {
    sys.close(listener)
    sys.close(client)
  }
}

/** One datagram from one namespace to another's address: what gets lost is not sent again. */
export async function reaches(from: Netns, to: Netns, address: string): Promise<boolean> {
  const family = address.includes(':') ? sys.AF.INET6 : sys.AF.INET
  const target = sys.inetAddress(addr(address), 4242)
  const receiver = inNetns(to.path, () => sys.socket(family, sys.SOCK.DGRAM, 0))
  const sender = inNetns(from.path, () => sys.socket(family, sys.SOCK.DGRAM, 0))
  try {
    sys.bind(receiver, target)
    sys.sendTo(sender, Buffer.from('hello'), target)
    return await sys.whenReady(receiver, sys.READABLE, 5000)
  } finally {
    sys.close(receiver)
    sys.close(sender)
  }
}
