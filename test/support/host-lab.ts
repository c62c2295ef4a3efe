// A node between two wires, with two pods, all of them network namespaces with a stack of their own, so that real
// connections come about or do not: `outside` behind eth0, `behind` behind eth1. The node forwards and answers too.
import { execFileSync } from 'node:child_process'
import { setTimeout } from 'node:timers/promises'
import { computeIntent } from '../../src/core/calc/compute.ts'
import type { Intent } from '../../src/core/calc/intent.ts'
import { classify } from '../../src/core/classify/classify.ts'
import { type Addr, addr } from '../../src/core/net/addr.ts'
import { canonicalTable } from '../../src/core/nft/canonical.ts'
import { tableState } from '../../src/core/nft/table-state.ts'
import { printDifference } from '../../src/core/proof/difference.ts'
import { decodeRuleset } from '../../src/core/proof/model.ts'
import { prove } from '../../src/core/proof/prove.ts'
import type { RenderOptions } from '../../src/core/render/nft/outcomes.ts'
import { planUpdate } from '../../src/core/render/nft/plan.ts'
import { policyTable } from '../../src/core/render/nft/table.ts'
import { derived } from '../../src/core/resources/derive.ts'
import { type Resource, snapshotOf } from '../../src/core/resources/resource.ts'
import { readInterfaces } from '../../src/io/kernel/interfaces.ts'
import { readLink } from '../../src/io/kernel/links.ts'
import { NETLINK, NetlinkSocket } from '../../src/io/kernel/netlink-socket.ts'
import { namedNetns } from '../../src/io/kernel/netns.ts'
import { type NftConnection, openNft } from '../../src/io/kernel/nft-table.ts'
import { ProbeHost } from '../../src/io/kernel/probe-sockets.ts'
import { RawRulesetReader } from '../../src/io/kernel/raw-ruleset.ts'
import { writeSysctl } from '../../src/io/kernel/sysctl.ts'
import { Conntrack } from './conntrack.ts'

export const PLACES = ['node', 'outside', 'behind', 'p', 'q'] as const
export type Place = (typeof PLACES)[number]
/** The address by which each is spoken to, and the node's interface towards it. */
export const ADDRESS: Readonly<Record<Place, Addr>> = {
  node: addr('10.9.0.1'),
  outside: addr('10.9.0.2'),
  behind: addr('10.9.1.2'),
  p: addr('10.65.0.7'),
  q: addr('10.65.1.7'),
}
export const ADDRESS6: Readonly<Record<'node' | 'outside', Addr>> = { node: addr('fd09::1'), outside: addr('fd09::2') }
export const INTERFACE: Readonly<Record<Exclude<Place, 'node'>, string>> = {
  outside: 'eth0',
  behind: 'eth1',
  p: 'calip',
  q: 'caliq',
}
/** Ports with an echo server on every host. */
export const PORTS = [22, 80, 81, 6443, 7777] as const
const UDP_PORTS = [4789, 7777] as const

const WIRES: readonly (readonly [place: Exclude<Place, 'node'>, node: readonly string[], far: readonly string[]])[] = [
  ['outside', ['10.9.0.1/24', '10.9.0.9/24', 'fd09::1/64'], ['10.9.0.2/24', 'fd09::2/64']],
  ['behind', ['10.9.1.1/24'], ['10.9.1.2/24']],
  ['p', ['10.65.0.1/24'], ['10.65.0.7/24', '10.77.0.1/32']],
  ['q', ['10.65.1.1/24'], ['10.65.1.7/24']],
]

export class HostLab {
  readonly #name: string
  readonly hosts: Readonly<Record<Place, ProbeHost>>
  readonly #nft: NftConnection
  readonly #reader: RawRulesetReader
  readonly #conntrack: Conntrack

  private constructor(name: string) {
    this.#name = name
    const hosts = PLACES.map(place => [place, new ProbeHost(namedNetns(`${name}-${place}`))])
    this.hosts = Object.fromEntries(hosts) as Record<Place, ProbeHost>
    for (const host of Object.values(this.hosts)) {
      for (const port of PORTS) host.listenTcp(port)
      for (const port of UDP_PORTS) host.listenUdp(port)
    }
    this.#nft = openNft(namedNetns(`${name}-node`))
    this.#reader = new RawRulesetReader(namedNetns(`${name}-node`))
    this.#conntrack = new Conntrack(namedNetns(`${name}-node`))
  }

  static async open(name: string): Promise<HostLab> {
    const ip = (...args: string[]): void => void execFileSync('ip', args)
    try {
      for (const place of PLACES) {
        ip('netns', 'add', `${name}-${place}`)
        ip('-n', `${name}-${place}`, 'link', 'set', 'lo', 'up')
        for (const scope of ['all', 'default'])
          writeSysctl(`net/ipv4/conf/${scope}/rp_filter`, 0, namedNetns(`${name}-${place}`))
      }
      const node = `${name}-node`
      writeSysctl('net/ipv4/ip_forward', 1, namedNetns(node))
      for (const [place, near, far] of WIRES) {
        const [end, netns] = [INTERFACE[place], `${name}-${place}`]
        ip('-n', node, 'link', 'add', end, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', netns)
        for (const a of near) ip('-n', node, 'address', 'add', a, 'dev', end, ...(a.includes(':') ? ['nodad'] : []))
        for (const a of far) ip('-n', netns, 'address', 'add', a, 'dev', 'eth0', ...(a.includes(':') ? ['nodad'] : []))
        ip('-n', node, 'link', 'set', end, 'up')
        ip('-n', netns, 'link', 'set', 'eth0', 'up')
        ip('-n', netns, 'route', 'add', 'default', 'via', near[0]!.replace(/\/.*/, ''))
      }
      ip('-n', node, 'route', 'add', '10.77.0.1/32', 'dev', INTERFACE.p)
      // Addresses of services: whoever asks for one would take this interface.
      ip('-n', node, 'route', 'add', '10.96.0.0/16', 'via', '10.9.0.2')
      for (const [place] of WIRES) {
        using socket = new NetlinkSocket(NETLINK.ROUTE, namedNetns(node))
        while (!readLink(socket, INTERFACE[place])!.running) await setTimeout(1)
      }
      return new HostLab(name)
    } catch (error) {
      HostLab.#remove(name)
      throw error
    }
  }

  static #remove(name: string): void {
    for (const place of PLACES) {
      try {
        execFileSync('ip', ['netns', 'del', `${name}-${place}`], { stdio: 'ignore' })
      } catch {
        // It was not made.
      }
    }
  }

  /** Runs nft in the node's namespace: tables of others, as kube-proxy has them. */
  nft(input: string): string {
    return execFileSync('ip', ['netns', 'exec', `${this.#name}-node`, 'nft', '-f', '-'], { input, encoding: 'utf8' })
  }

  list(table = 'gingham'): string {
    return execFileSync('ip', ['netns', 'exec', `${this.#name}-node`, 'nft', 'list', 'table', 'inet', table], {
      encoding: 'utf8',
    })
  }

  counters(): ReturnType<NftConnection['readCounters']> {
    return this.#nft.readCounters('gingham')
  }

  get interfaces(): Map<string, readonly Addr[]> {
    return readInterfaces(namedNetns(`${this.#name}-node`))
  }

  /** Puts resources into force, and forgets every connection. */
  enforce(resources: readonly Resource[], options: RenderOptions = {}): Intent {
    const intent = computeIntent(derived(snapshotOf(resources)), 'n', this.interfaces)
    const table = canonicalTable(policyTable(classify(intent), options))
    this.#nft.deleteTable('gingham')
    const plan = planUpdate(tableState(undefined), table)
    for (const batch of [...plan.create, ...plan.move]) this.#nft.writeBatch(batch, table)
    this.#conntrack.flush()
    return intent
  }

  /** What the proof says against an intent; nothing if it is proved. */
  doubts(intent: Intent): string[] {
    const proof = prove(decodeRuleset(this.#reader.read()), intent)
    return proof.proved ? [] : [...proof.differences.map(printDifference), ...proof.notUnderstood]
  }

  close(): void {
    for (const host of Object.values(this.hosts)) host.close()
    this.#nft.close()
    this.#reader.close()
    this.#conntrack.close()
    HostLab.#remove(this.#name)
  }
}
