// What the proof says of rules that are not ours: understood where they can be, harmless where they are, and never green where
// nobody can know. And of bytes that no kernel sends.
import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import fc from 'fast-check'
import { classify } from '../../src/core/classify/classify.ts'
import { canonicalTable } from '../../src/core/nft/canonical.ts'
import { tableState } from '../../src/core/nft/table-state.ts'
import { printDifference } from '../../src/core/proof/difference.ts'
import { decodeRuleset } from '../../src/core/proof/model.ts'
import { type Proof, prove } from '../../src/core/proof/prove.ts'
import { RawError, type RawRuleset } from '../../src/core/proof/raw.ts'
import { walk } from '../../src/core/proof/walk.ts'
import { planUpdate } from '../../src/core/render/nft/plan.ts'
import { policyTable } from '../../src/core/render/nft/table.ts'
import { openNft } from '../../src/io/kernel/nft-table.ts'
import { RawRulesetReader } from '../../src/io/kernel/raw-ruleset.ts'
import { packet } from '../agreement/cluster.ts'
import { dice, pick } from '../support/dice.ts'
import { netnsOfFile, nftIn } from './netns.ts'
import { trace, tracer } from './proof-trace.ts'
import { type Outcome, outcomeOf, show, someIntent } from './proofs.ts'

const NETNS = `gingham-limits-${process.pid}`
let reader: RawRulesetReader
const run = (args: readonly string[], input?: string): string => nftIn(NETNS, args, input)

const intent = someIntent(7)

const path = netnsOfFile(NETNS)
before(() => {
  reader = new RawRulesetReader(path)
})
after(() => reader?.close())

function fresh(): void {
  run(['flush', 'ruleset'])
  const nft = openNft(path)
  try {
    const table = canonicalTable(policyTable(classify(intent)))
    const plan = planUpdate(tableState(undefined), table)
    for (const batch of [...plan.create, ...plan.move]) nft.writeBatch(batch, table)
  } finally {
    nft.close()
  }
}
const proveLive = (): Proof => prove(decodeRuleset(reader.read()), intent)

const chain = (rules: string, hook = 'forward', policy = 'accept'): string =>
  `table inet foreign {\n set seen { type ipv4_addr; flags dynamic,timeout; timeout 1m; }\n chain c { type filter hook ${hook} priority 5; policy ${policy};\n${rules}\n }\n}\n`

const nat = (rule: string): string =>
  `table ip other {\n chain c { type nat hook postrouting priority 90; ${rule}\n }\n}\n`

describe('rules of others', () => {
  const cases: readonly { name: string; text: string; is: Outcome }[] = [
    { name: 'a limit that only counts', text: chain('limit rate 1/second counter log'), is: 'proved' },
    { name: 'an accept that may or may not be', text: chain('ct mark 5 accept'), is: 'proved' },
    { name: 'a drop by an unknown mark of the connection', text: chain('ct mark 5 drop'), is: 'not understood' },
    { name: 'a drop past a limit', text: chain('limit rate over 10/second drop'), is: 'not understood' },
    { name: 'a drop by a set that packets fill', text: chain('ip saddr @seen drop'), is: 'not understood' },
    { name: 'a set that packets fill', text: chain('update @seen { ip saddr }'), is: 'proved' },
    { name: 'a drop by the time to live', text: chain('ip ttl 1 drop'), is: 'not understood' },
    {
      name: 'connections that are not followed',
      text: chain('tcp dport 81 notrack', 'prerouting'),
      is: 'not understood',
    },
    { name: 'a packet that is rewritten', text: chain('ip ttl set 5'), is: 'not understood' },
    { name: 'a drop of what is dropped anyway', text: chain('ct state invalid drop'), is: 'proved' },
    { name: 'a source for what comes from no pod', text: nat('ip saddr 172.17.0.0/16 masquerade'), is: 'proved' },
    {
      name: 'a source for what leaves the cluster',
      text: nat('oifname "eth0" ip daddr 198.51.100.0/24 masquerade'),
      is: 'proved',
    },
    { name: 'a source for what pods send to pods', text: nat('ip saddr 10.1.0.0/16 masquerade'), is: 'different' },
    { name: 'a fixed source for everybody', text: nat('snat to 192.0.2.1'), is: 'different' },
    { name: 'a mark that masquerades and that nobody sets', text: nat('meta mark 0x4000 masquerade'), is: 'proved' },
    { name: 'a policy of drop', text: chain('ip protocol tcp accept', 'forward', 'drop'), is: 'different' },
    { name: 'a drop in prerouting', text: chain('ip daddr 10.1.0.1 drop', 'prerouting'), is: 'different' },
    { name: 'a drop in postrouting', text: chain('oifname "eth0" tcp dport 443 drop', 'postrouting'), is: 'different' },
    {
      name: 'a jump that returns',
      text: 'table inet foreign {\n chain d { tcp dport 80 return\n udp dport 53 return\n }\n chain c { type filter hook forward priority 5; policy accept;\n jump d\n accept\n }\n}\n',
      is: 'proved',
    },
    { name: 'marks that nobody asks for', text: chain('meta mark set 5', 'prerouting'), is: 'proved' },
    {
      name: 'a mark that is asked for',
      text: `${chain('tcp dport 80 meta mark set 5', 'prerouting')}${chain('meta mark 5 drop').replace('foreign', 'other')}`,
      is: 'different',
    },
    { name: 'a mark that is never set', text: chain('meta mark 5 drop'), is: 'proved' },
    {
      name: 'a table on a device',
      text: 'table netdev foreign { chain c { type filter hook ingress device "lo" priority 0; }\n}\n',
      is: 'not understood',
    },
    {
      name: 'a cause that our own table counts once more',
      text: 'table inet gingham {\n chain more { type filter hook postrouting priority 5; tcp dport 80 counter comment "Tier default ingress default Deny"\n }\n}\n',
      is: 'different',
    },
    { name: 'our own table asleep', text: 'add table inet gingham { flags dormant; }\n', is: 'different' },
    { name: 'our own table gone', text: 'delete table inet gingham\n', is: 'different' },
  ]
  for (const { name, text, is } of cases) {
    it(`${name}: ${is}`, () => {
      fresh()
      run(['-f', '-'], text)
      const proof = proveLive()
      assert.equal(outcomeOf(proof), is, show(proof))
      for (const d of proof.differences) assert.ok(d.path.length > 0 || /asleep|gone/.test(name), printDifference(d))
    })
  }

  it('kube-proxy’s tables change nothing and are understood', () => {
    fresh()
    run(['-f', '-'], KUBE_PROXY)
    const proof = proveLive()
    assert.ok(proof.proved, show(proof))
  })
})

describe('one packet', () => {
  it('goes the way that the tracer of nft’s listing says', () => {
    fresh()
    const ruleset = decodeRuleset(reader.read())
    const other = tracer(run(['-j', '-n', 'list', 'ruleset']))
    const names = [...intent.endpoints.map(e => e.interfaceName), 'eth0', 'cali-none']
    const d = dice(3)
    let accepted = 0
    for (const p of fc.sample(packet, { numRuns: 2000, seed: 4 })) {
      const placed = { ...p, iif: pick(d, names), ...(d(3) > 0 && { oif: pick(d, names) }), connection: 'new' as const }
      const [a, b] = [walk(ruleset, placed), trace(other, placed)]
      assert.deepEqual([a.verdict, a.causes], [b.verdict, b.causes], `${JSON.stringify(placed)}\n${a.path.join('\n')}`)
      if (a.verdict === 'accept') accepted++
    }
    assert.ok(accepted > 50, `${accepted} accepted`)
  })
})

describe('bytes that no kernel sends', () => {
  it('are refused, or read as some other ruleset, but never break the proof', () => {
    fresh()
    const raw = reader.read()
    const seen = { refused: 0, wrong: 0, same: 0 }
    fc.assert(
      fc.property(
        fc.constantFrom('tables', 'chains', 'sets', 'elements', 'rules'),
        fc.nat(),
        fc.array(fc.tuple(fc.nat(), fc.integer({ min: 0, max: 255 })), { minLength: 1, maxLength: 4 }),
        (kind, index, edits) => {
          const bodies = raw[kind].map(b => b.slice())
          const body = bodies[index % bodies.length]!
          for (const [at, value] of edits) body[at % body.length] = value
          const broken: RawRuleset = { ...raw, [kind]: bodies }
          try {
            const proof = prove(decodeRuleset(broken), intent, { maxClasses: 20_000 })
            if (proof.proved) seen.same++
            else seen.wrong++
          } catch (error) {
            if (!(error instanceof RawError)) throw error
            seen.refused++
          }
        },
      ),
      { numRuns: 300 },
    )
    assert.ok(seen.refused > 0 && seen.wrong > 0 && seen.same > 0, JSON.stringify(seen))
  })
})

/** In the shape of Kubernetes' own nftables rules: services, endpoints by chance, marks, masquerade. */
const KUBE_PROXY = `table ip kube-proxy {
  set cluster-ips { type ipv4_addr; elements = { 10.96.0.1, 10.96.0.10 } }
  set nodeport-ips { type ipv4_addr; elements = { 192.0.2.9 } }
  map service-ips { type ipv4_addr . inet_proto . inet_service : verdict
    elements = { 10.96.0.1 . tcp . 443 : goto service-a, 10.96.0.10 . udp . 53 : goto service-b } }
  map service-nodeports { type inet_proto . inet_service : verdict; elements = { tcp . 30080 : goto service-a } }
  chain endpoint-1 { ip saddr 10.1.0.1 jump mark-for-masquerade
    meta l4proto tcp dnat to 10.1.0.1:6443
  }
  chain endpoint-2 { ip saddr 10.1.2.1 jump mark-for-masquerade
    meta l4proto tcp dnat to 10.1.2.1:6443
  }
  chain endpoint-3 { meta l4proto udp dnat to 10.1.4.1:53
  }
  chain service-a { ip daddr 10.96.0.1 tcp dport 443 ip saddr != 10.1.0.0/16 jump mark-for-masquerade
    numgen random mod 2 vmap { 0 : goto endpoint-1, 1 : goto endpoint-2 }
  }
  chain service-b { numgen random mod 1 vmap { 0 : goto endpoint-3 }
  }
  chain mark-for-masquerade { mark set mark or 0x4000
  }
  chain masquerading { mark and 0x4000 == 0 return
    mark set mark xor 0x4000
    masquerade fully-random
  }
  chain services { ip daddr . meta l4proto . th dport vmap @service-ips
    ip daddr @nodeport-ips fib daddr type local meta l4proto . th dport vmap @service-nodeports
  }
  chain firewall-check { ip daddr 198.51.100.250 counter
  }
  chain filter-prerouting { type filter hook prerouting priority -110; policy accept;
    ct state new jump firewall-check
  }
  chain filter-forward { type filter hook forward priority -110; policy accept;
    ct state new jump firewall-check
  }
  chain nat-prerouting { type nat hook prerouting priority -100; policy accept;
    jump services
  }
  chain nat-postrouting { type nat hook postrouting priority 100; policy accept;
    jump masquerading
  }
}
`
