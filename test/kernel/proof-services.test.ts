// The proof beside kube-proxy in its nftables mode: its services are understood (translated destinations, marks, masquerade,
// refusals), policy is proved for what comes of them, and what is put into its tables against policy is found or told.
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { after, before, describe, it } from 'node:test'
import fc from 'fast-check'
import type { Intent } from '../../src/core/calc/intent.ts'
import { classify } from '../../src/core/classify/classify.ts'
import { BUDGET } from '../../src/core/classify/split.ts'
import { addr } from '../../src/core/net/addr.ts'
import { prefix } from '../../src/core/net/prefix.ts'
import { canonicalTable } from '../../src/core/nft/canonical.ts'
import { decodeRuleset } from '../../src/core/proof/model.ts'
import { type Proof, prove } from '../../src/core/proof/prove.ts'
import { walk } from '../../src/core/proof/walk.ts'
import { policyTable } from '../../src/core/render/nft/table.ts'
import { openNft } from '../../src/io/kernel/nft-table.ts'
import { RawRulesetReader } from '../../src/io/kernel/raw-ruleset.ts'
import { cluster } from '../agreement/cluster.ts'
import { COMPILER } from '../agreement/compiler.ts'
import { uplinkTo } from '../agreement/flow.ts'
import { tableOf, worldOf } from '../agreement/judges.ts'
import { framesOf } from '../agreement/raw-frames.ts'
import { RealLab } from '../agreement/real-lab.ts'
import { RealPackets } from '../agreement/real-packets.ts'
import { dice, pick } from '../support/dice.ts'
import { loadTable } from '../support/load-table.ts'
import { type KubeProxySpec, type KubeService, kubeProxyTable } from './kube-proxy.ts'
import { netnsOfFile, nftIn } from './netns.ts'
import { type Outcome, outcomeOf, show, someIntent } from './proofs.ts'

const NETNS = `gingham-services-${process.pid}`
const POOLS = ['10.1.0.0/16', 'fd00:1::/32'].map(prefix)
let reader: RawRulesetReader
const nft = (args: readonly string[], input?: string): string => nftIn(NETNS, args, input)

const intentOf = (first: number): Intent => ({ ...someIntent(first), allPools: POOLS, masqueradePools: POOLS })
const intent = intentOf(7)

const path = netnsOfFile(NETNS)
before(() => {
  reader = new RawRulesetReader(path)
})
after(() => reader?.close())

function load(of: Intent, ...texts: readonly string[]): void {
  nft(['flush', 'ruleset'])
  using connection = openNft(path)
  loadTable(connection, canonicalTable(policyTable(classify(of))))
  nft(['-f', '-'], texts.join('\n'))
}
const proveLive = (of: Intent): Proof => prove(decodeRuleset(reader.read()), of)

const SERVICES: readonly KubeService[] = [
  {
    name: 'ns1/web',
    clusterIP: '10.96.0.41',
    port: 80,
    endpoints: [1, 2].map(n => ({ ip: `10.1.${n}.1`, port: 8080 })),
  },
  { name: 'ns1/dns', clusterIP: '10.96.0.10', port: 53, protocol: 'udp', endpoints: [{ ip: '10.1.4.1', port: 53 }] },
  { name: 'ns2/none', clusterIP: '10.96.0.46', port: 80, endpoints: [], nodePort: 30099, externalIPs: ['192.0.2.70'] },
  {
    name: 'ns2/lb',
    clusterIP: '10.96.0.42',
    port: 443,
    endpoints: [{ ip: '10.1.0.1', port: 443 }],
    nodePort: 30001,
    externalIPs: ['192.0.2.66', '192.0.2.67'],
    sourceRanges: ['198.51.100.0/24'],
    affinity: 10800,
  },
  {
    name: 'ns3/local',
    clusterIP: '10.96.0.43',
    port: 81,
    endpoints: [{ ip: '10.1.2.1', port: 81 }],
    externalIPs: ['192.0.2.68'],
    local: true,
  },
  /** Served by the host itself. */
  { name: 'default/kubernetes', clusterIP: '10.96.0.1', port: 443, endpoints: [{ ip: '192.0.2.1', port: 6443 }] },
]
const IP4: KubeProxySpec = {
  family: 'ip',
  podCIDR: '10.1.0.0/16',
  serviceCIDR: '10.96.0.0/12',
  nodeIPs: ['192.0.2.1'],
  services: SERVICES,
}
const IP6: KubeProxySpec = {
  family: 'ip6',
  podCIDR: 'fd00:1::/32',
  serviceCIDR: 'fd00:96::/108',
  nodeIPs: ['2001:db8::1'],
  services: [
    {
      name: 'ns1/web',
      clusterIP: 'fd00:96::41',
      port: 80,
      endpoints: [1, 2].map(n => ({ ip: `fd00:1::${n}`, port: 8080 })),
    },
    { name: 'ns2/none', clusterIP: 'fd00:96::46', port: 80, endpoints: [], nodePort: 30099 },
    {
      name: 'ns2/lb',
      clusterIP: 'fd00:96::42',
      port: 443,
      endpoints: [{ ip: 'fd00:1::4', port: 443 }],
      externalIPs: ['2001:db8::66'],
      sourceRanges: ['2001:dead::/64'],
      affinity: 60,
    },
  ],
}
const BOTH = [kubeProxyTable(IP4), kubeProxyTable(IP6)] as const
const NEWER = [IP4, IP6].map(spec => kubeProxyTable({ ...spec, direct: true }))

/** What a kubelet writes by iptables, whatever kube-proxy's mode. */
function addKubelet(): void {
  const iptables = (...args: readonly string[]): void =>
    void execFileSync('ip', ['netns', 'exec', NETNS, 'iptables-nft', ...args], { stdio: ['ignore', 'pipe', 'pipe'] })
  iptables('-N', 'KUBE-FIREWALL')
  const loopback = ['!', '-s', '127.0.0.0/8', '-d', '127.0.0.0/8']
  const why = ['-m', 'comment', '--comment', 'block incoming localnet connections']
  const isNew = ['-m', 'conntrack', '!', '--ctstate', 'RELATED,ESTABLISHED,DNAT']
  iptables('-A', 'KUBE-FIREWALL', ...loopback, ...why, ...isNew, '-j', 'DROP')
  for (const hook of ['INPUT', 'OUTPUT']) iptables('-I', hook, '-j', 'KUBE-FIREWALL')
}

describe('beside kube-proxy', () => {
  it('the tables of random clusters are proved', () => {
    let classes = 0
    for (let seed = 1; seed < 40; seed += 4) {
      const of = intentOf(seed)
      load(of, ...(seed % 8 === 1 ? BOTH : NEWER))
      if (seed % 3 === 0) addKubelet()
      const proof = proveLive(of)
      assert.ok(proof.proved, show(proof))
      classes += proof.classes
    }
    console.log(`# ${classes} classes of packets`)
  })

  it('a service’s destinations are followed one by one where a map chooses: one that policy would not have is found', () => {
    load(intent, ...NEWER)
    addKubelet()
    assert.ok(proveLive(intent).proved)
    // Of the two pods of a service one gets nothing any more.
    nft(['-f', '-'], 'insert rule ip kube-proxy filter-forward ip daddr 10.1.2.1 tcp dport 8080 drop\n')
    const found = proveLive(intent)
    assert.equal(outcomeOf(found), 'different', show(found))
  })

  it('what a kubelet refuses is told from what it does not: the loopback network only, and no answers', () => {
    load(intent, ...NEWER)
    addKubelet()
    const iptables = (rule: string): void =>
      void execFileSync('ip', ['netns', 'exec', NETNS, 'iptables-nft', '-I', 'FORWARD', ...rule.split(' ')])
    iptables('-m conntrack --ctstate INVALID,UNTRACKED -j DROP')
    iptables('-m conntrack --ctstate RELATED,ESTABLISHED,DNAT -j ACCEPT')
    assert.ok(proveLive(intent).proved, show(proveLive(intent)))
    iptables('-m conntrack --ctstate NEW -d 10.1.0.1 -j DROP')
    assert.equal(outcomeOf(proveLive(intent)), 'different')
    load(intent, ...NEWER)
    iptables('-m conntrack --ctproto 6 --ctstate NEW -d 10.1.0.1 -j DROP')
    assert.equal(outcomeOf(proveLive(intent)), 'not understood')
  })

  it('a service’s packet is judged by the destination that it is given', () => {
    load(intent, ...BOTH)
    const ruleset = decodeRuleset(reader.read())
    const common = {
      family: 4,
      protocol: 17,
      sport: 1000,
      connection: 'new',
      iif: 'eth0',
      src: addr('198.51.100.7'),
    } as const
    const { interfaceName: oif } = intent.endpoints.find(e => e.addresses.includes(addr('10.1.4.1')))!
    const direct = walk(ruleset, { ...common, dst: addr('10.1.4.1'), dport: 53, oif })
    const byService = walk(ruleset, { ...common, dst: addr('10.96.0.10'), dport: 53, oif })
    assert.deepEqual([byService.verdict, byService.causes], [direct.verdict, direct.causes])
    assert.ok(direct.causes.length > 0)
    // A port that no service has is refused by the proxy.
    assert.match(
      walk(ruleset, { ...common, dst: addr('10.96.0.10'), dport: 54, oif: 'eth1' }).path.at(-1)!,
      /cluster-ips-check.*drop/,
    )
    // What comes from outside the pods goes on with the node's address.
    const outside = { ...common, protocol: 6, dst: addr('10.96.0.1'), dport: 443, oif: 'eth1' }
    assert.equal(walk(ruleset, outside).masqueraded, true)
    assert.equal(walk(ruleset, { ...outside, dst: addr('192.0.2.1') }).masqueraded, false)
  })

  const inFilter = (rule: string): string => `add rule ip kube-proxy filter-forward ${rule}\n`
  const edits: readonly { name: string; text: string; is: Outcome }[] = [
    { name: 'a drop of what goes to a pod', text: inFilter('ip daddr 10.1.0.1 drop'), is: 'different' },
    { name: 'a drop of what a pod sends to a pod', text: inFilter('ip saddr 10.1.2.1 drop'), is: 'different' },
    { name: 'a drop of a translated service', text: inFilter('tcp dport 8080 reject'), is: 'different' },
    { name: 'a refusal of one more service', text: inFilter('ip daddr 10.96.0.77 tcp dport 80 reject'), is: 'proved' },
    { name: 'an accept', text: inFilter('accept'), is: 'proved' },
    {
      name: 'a service that is served by a pod of this node only',
      text: 'add element ip kube-proxy service-ips { 10.96.0.99 . tcp . 80 : goto endpoint-AAAAAAA0-ns1/web/tcp/p80__10.1.2.1/8080 }\n',
      is: 'proved',
    },
    {
      name: 'a translation that a map chooses',
      text: 'add map ip kube-proxy m { type ipv4_addr : ipv4_addr; elements = { 10.96.0.98 : 10.1.0.1 }; }\nadd rule ip kube-proxy nat-prerouting dnat to ip daddr map @m\n',
      is: 'proved',
    },
    {
      name: 'a translation that a hash chooses',
      text: 'add rule ip kube-proxy nat-prerouting ip daddr 10.96.0.98 dnat to jhash ip saddr mod 2 map { 0 : 10.1.0.1, 1 : 10.1.2.1 }\n',
      is: 'not understood',
    },
    {
      name: 'the same drop in another’s table',
      text: 'table ip other { chain c { type filter hook forward priority 0; ip daddr 10.96.0.77 drop; }\n}\n',
      is: 'different',
    },
    {
      name: 'an accept of ours instead of a drop',
      text: 'insert rule inet gingham forward ip daddr 10.1.0.1 accept\n',
      is: 'different',
    },
  ]
  for (const { name, text, is } of edits) {
    it(`${name}: ${is}`, () => {
      load(intent, ...BOTH, text)
      const proof = proveLive(intent)
      assert.equal(outcomeOf(proof), is, show(proof))
    })
  }
})

describe('real packets beside kube-proxy', () => {
  it('go the way that the proof’s walk says', async () => {
    using lab = new RealLab(`gingham-sp-${process.pid}`)
    const world = worldOf({ snapshot: fc.sample(cluster, { numRuns: 1, seed: 11 })[0]!, budget: BUDGET }, COMPILER)
    const { endpoints } = world.intent
    const ofPod = (n: number): string => `10.1.${n}.1`
    // One endpoint each: which of several it will be is nobody's to say.
    const services = [0, 1, 2, 3, 4].map(n => ({
      ...{ name: `ns/s${n}`, clusterIP: `10.96.0.${n + 1}`, port: 80, externalIPs: [`192.0.2.${80 + n}`] },
      endpoints: [{ ip: ofPod(n), port: n % 2 === 0 ? 8080 : 80 }],
    }))
    const none = { name: 'ns/none', clusterIP: '10.96.0.9', port: 80, endpoints: [] }
    new RealPackets(lab).load(world, tableOf(world), 'netlink')
    lab.nft(['-f', '-'], kubeProxyTable({ ...IP4, services: [...services, none] }))
    using live = new RawRulesetReader(lab.node)
    const ruleset = decodeRuleset(live.read())
    const senders = [...endpoints.map(e => e.addresses.find(a => !a.includes(':'))!), addr('198.51.100.7')]
    const targets = [...services.flatMap(s => [s.clusterIP, ...s.externalIPs]), none.clusterIP, '10.96.0.77']
    const d = dice(5)
    const seen = { accept: 0, drop: 0, translated: 0 }
    for (let id = 1; id <= 300; id++) {
      const src = pick(d, senders)
      const dst = pick(d, d(4) === 0 ? [0, 1, 2, 3, 4].map(ofPod) : targets)
      const packet = {
        family: 4,
        protocol: 6,
        src,
        dst: addr(dst),
        sport: 1024 + id,
        dport: pick(d, [80, 80, 80, 8080]),
      } as const
      const service = services.find(s => packet.dport === 80 && [s.clusterIP, ...s.externalIPs].includes(dst))
      const goesTo = service ? service.endpoints[0]!.ip : dst
      // A pod that calls itself is masqueraded, and the lab has no address for that.
      if (goesTo === src) continue
      const at = (a: string): string =>
        endpoints.find(e => e.addresses.includes(addr(a)))?.interfaceName ?? uplinkTo(addr(a))
      const wanted = walk(ruleset, { ...packet, iif: at(src), oif: at(goesTo), connection: 'new' })
      for (const frame of framesOf({ packet, shape: 'whole' }, id, lab.link)) lab.send(at(src), frame)
      const end = performance.now() + (wanted.verdict === 'accept' ? 1000 : 5)
      let out: string | undefined
      while (out === undefined && performance.now() < end) {
        await new Promise(resolve => setImmediate(resolve))
        out = lab.receive().find(s => s.id === id)?.at
      }
      const story = `${src} to ${dst}:${packet.dport}\n${wanted.path.join('\n')}`
      assert.equal(out, wanted.verdict === 'accept' ? at(goesTo) : undefined, story)
      seen[wanted.verdict as 'accept']++
      if (service && wanted.verdict === 'accept') seen.translated++
    }
    console.log(`# ${JSON.stringify(seen)}`)
    assert.ok(seen.translated > 20 && seen.drop > 20, JSON.stringify(seen))
  })
})
