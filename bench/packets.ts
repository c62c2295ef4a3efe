// What policy costs a packet: the first of a flow, one of an established flow, and one of a flow that is never answered.
// Against no rules at all, connection tracking alone, and a linear chain in Calico's shape; pod to pod on one node, each
// rule with its own set of 20 addresses and one port, the last rule matching. All variants stand side by side in namespaces
// of their own and take turns, so that whatever else the machine does falls on all of them.
//
//   node_modules/.bin/node bench/packets.ts [--write] [--runs N] [--rules 10,100]
import { execFileSync } from 'node:child_process'
import os from 'node:os'
import { parseArgs } from 'node:util'
import { computeIntent } from '../src/core/calc/compute.ts'
import { classify } from '../src/core/classify/classify.ts'
import { canonicalTable } from '../src/core/nft/canonical.ts'
import type { NftTable } from '../src/core/nft/objects.ts'
import { policyTable } from '../src/core/render/nft/table.ts'
import { derived } from '../src/core/resources/derive.ts'
import { openNft } from '../src/io/kernel/nft-table.ts'
import { loadTable } from '../test/support/load-table.ts'
import { calicoChain } from './calico-chain.ts'
import { PacketPath, takeProcessor } from './packet-path.ts'
import { decimals, markdown, median, report, whole, withSpread } from './report.ts'
import { NODE, type Shape, scenario } from './scenario.ts'

const { values } = parseArgs({
  options: {
    write: { type: 'boolean', default: false },
    runs: { type: 'string', default: '11' },
    rules: { type: 'string', default: '10,100,1000,10000' },
  },
})
const RUNS = Number(values.runs)
const SIZES = values.rules.split(',').map(Number)
const PACKETS = 16_384

const shapeOf = (rules: number): Shape => ({
  policies: rules / 10,
  rulesPerPolicy: 10,
  members: 20,
  addressesPerEndpoint: 20,
})

type Variant = { readonly name: string; readonly group: string; readonly path: PacketPath; readonly samples: Samples }
type Samples = { readonly first: number[]; readonly established: number[]; readonly oneWay: number[] }

const nft = (path: PacketPath, text: string): void => {
  const name = path.lab.node.split('/').at(-1)!
  execFileSync('ip', ['netns', 'exec', name, 'nft', '-f', '-'], { input: text })
}

const CONNTRACK = `table inet baseline {
  chain forward {
    type filter hook forward priority filter; policy accept;
    ct state established,related accept
  }
}
`

function writeTable(path: PacketPath, table: NftTable): void {
  const connection = openNft(path.lab.node)
  try {
    loadTable(connection, table)
  } finally {
    connection.close()
  }
}

/** Any chain of this type makes the kernel give every new flow a place in its table of translations. */
const NAT = `table inet translation {
  chain postrouting {
    type nat hook postrouting priority 100; policy accept;
  }
}
`

const compiled = (shape: Shape): NftTable =>
  canonicalTable(policyTable(classify(computeIntent(derived(scenario(shape).snapshot), NODE))))

const paths: PacketPath[] = []
function variant(group: string, rules: number | undefined, load: (path: PacketPath, shape: Shape) => void): Variant {
  const shape = shapeOf(rules ?? 10)
  const slow = group === 'linear' ? Math.max(1, (rules ?? 0) / 100) : 1
  const path = new PacketPath({
    name: `gb${process.pid}-${paths.length}`,
    dport: scenario({ ...shape, members: 1 }).openPort,
    packets: Math.max(256, Math.round(PACKETS / slow)),
  })
  paths.push(path)
  load(path, shape)
  return {
    name: rules === undefined ? group : `${group}, ${whole(rules)} rules`,
    group,
    path,
    samples: { first: [], established: [], oneWay: [] },
  }
}

function table(variants: readonly Variant[]): string {
  const base = variants.find(v => v.group === CT)!.samples
  const ratio = (samples: readonly number[], of: readonly number[]): string =>
    withSpread(
      samples.map((n, i) => n / of[i]!),
      decimals(median(samples) / median(of) > 10 ? 0 : 2),
    )
  return markdown(
    ['', 'first packet, ns', 'of ct alone', 'established, ns', 'of ct alone', 'never answered, ns', 'of ct alone'],
    variants.map(({ name, samples: { first, established, oneWay } }) => [
      name,
      ...[withSpread(first), ratio(first, base.first)],
      ...[withSpread(established), ratio(established, base.established)],
      ...[withSpread(oneWay), ratio(oneWay, base.oneWay)],
    ]),
  )
}

const CT = 'connection tracking alone'
const CT_NAT = 'connection tracking and NAT, no rules'

try {
  os.setPriority(-20)
  takeProcessor(os.cpus().length)
  const variants = [
    variant('no rules', undefined, () => undefined),
    variant(CT, undefined, path => nft(path, CONNTRACK)),
    ...SIZES.map(n => variant('gingham', n, (path, shape) => writeTable(path, compiled(shape)))),
    ...[SIZES[0]!, SIZES.at(-1)!].map(n =>
      variant('gingham, mixed', n, (path, shape) => writeTable(path, compiled({ ...shape, mixed: true }))),
    ),
    variant(CT_NAT, undefined, path => nft(path, CONNTRACK + NAT)),
    variant('gingham, masquerading pool', SIZES[0], (path, shape) =>
      writeTable(path, compiled({ ...shape, masquerade: true })),
    ),
    ...SIZES.map(n => variant('linear', n, (path, shape) => nft(path, calicoChain(shape)))),
  ]
  // One round to warm up, which is not counted.
  for (let run = -1; run < RUNS; run++) {
    for (const { path, samples } of variants) {
      const taken = { first: path.first(), established: path.established(), oneWay: path.oneWay() }
      if (run < 0) continue
      for (const key of ['first', 'established', 'oneWay'] as const) samples[key].push(taken[key])
    }
  }
  report(
    'packets',
    `## What a packet costs\n\nPod to pod on one node, IPv4 UDP; medians of ${RUNS} interleaved runs, in brackets the middle half. ` +
      `Everything includes the generator, the veths and routing ("no rules"). ` +
      `"mixed": of four rules one each asks for a prefix and a range of ports, for ICMP, for a named port. ` +
      `A node that masquerades (a pool with natOutgoing, or kube-proxy) pays for NAT on every first packet, with or without policy.\n\n${table(variants)}`,
  )
} finally {
  for (const path of paths) path.close()
}
