import { execFileSync } from 'node:child_process'
import pino from 'pino'
import { PolicyDataplane } from '../src/apps/agent/dataplane.ts'
import { Metrics } from '../src/apps/agent/metrics.ts'
import { derived } from '../src/core/resources/derive.ts'
import { keyOf } from '../src/core/resources/resource.ts'
import { namedNetns } from '../src/io/kernel/netns.ts'
import { openNft } from '../src/io/kernel/nft-table.ts'
import { scenario, NODE, policy } from './scenario.ts'
import inspector from 'node:inspector/promises'
import fs from 'node:fs'
const name = `gbz${process.pid}`
execFileSync('ip', ['netns', 'add', name])
const nft = openNft(namedNetns(name))
try {
  const s = scenario({ policies: 1000, rulesPerPolicy: 10, members: 20, addressesPerEndpoint: 20 })
  const plane = new PolicyDataplane({ node: NODE, kernel: nft, log: pino({ level: 'error' }), metrics: new Metrics(), onProgrammed: () => {} })
  let r = 0
  const set = (v: any) => ({ key: keyOf(v), value: v })
  console.time('start'); plane.apply([...derived(s.snapshot).values()].map(set), ++r); console.timeEnd('start')
  const p = s.policies[500]!
  const [first, ...rest] = p.spec.ingress as any
  const other = (n: number) => ({ ...p, spec: { ...p.spec, ingress: [{ ...first, destination: { ports: [n] } }, ...rest] } })
  for (let i = 0; i < 20; i++) plane.apply([set(other(5 + i))], ++r)
  const session = new inspector.Session(); session.connect(); await session.post('Profiler.enable'); await session.post('Profiler.setSamplingInterval', { interval: 200 }); await session.post('Profiler.start')
  const t: number[] = []
  const extra = policy(1000, 10)
  for (let i = 0; i < 100; i++) { const b = performance.now(); if (process.argv[2] === 'add') plane.apply([i % 2 ? { key: keyOf(extra), value: undefined } : set(extra)], ++r); else plane.apply([set(other(50 + i))], ++r); t.push(performance.now() - b); if (process.argv[2]==='add' && i > 10) break }
  const { profile } = await session.post('Profiler.stop') as any
  t.sort((a, b) => a - b); console.log('p50', t[t.length >> 1], 'min', t[0])
  const self = new Map<string, number>(); const byId = new Map(profile.nodes.map((n: any) => [n.id, n]))
  profile.samples.forEach((x: number, i: number) => { const n: any = byId.get(x); const k = n.callFrame.functionName + ' ' + n.callFrame.url.split('/').slice(-2).join('/') + ':' + n.callFrame.lineNumber; self.set(k, (self.get(k) ?? 0) + profile.timeDeltas[i]) })
  console.log([...self].sort((a, b) => b[1] - a[1]).slice(0, 22).map(([k, v]) => (v / 1000 / t.length).toFixed(2) + ' ms ' + k).join('\n'))
  plane.stop()
} finally { nft.close(); execFileSync('ip', ['netns', 'del', name]) }
process.exit(0)
