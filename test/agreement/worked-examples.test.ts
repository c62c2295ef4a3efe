// The worked examples that anyone can run (`gingham try examples/worked`): all as expected, and every connection between
// pods that they ask about decided by the compiled tables as by the oracle.
import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { test } from 'node:test'
import { parseInput } from '../../src/apps/cli/input.ts'
import { shell } from '../../src/apps/cli/shell.fixture.ts'
import { computeIntent } from '../../src/core/calc/compute.ts'
import { classify } from '../../src/core/classify/classify.ts'
import { parseAddr } from '../../src/core/net/addr.ts'
import { decide } from '../../src/core/oracle/decide.ts'
import { DIRECTIONS, printCause, type ResourceKey } from '../../src/core/resources/cause.ts'
import { derived } from '../../src/core/resources/derive.ts'
import { decodeResource, keyOf, ofKind, type Resource } from '../../src/core/resources/resource.ts'
import { judgeAt } from './follow.ts'

const FOLDER = 'examples/worked'
const files = readdirSync(FOLDER).sort()

test('there are ten', () => assert.equal(files.length, 10))

type Asked = { readonly from: string; readonly to: string; readonly service: string; readonly at?: unknown }

for (const file of files) {
  test(`${file}: as expected, by the oracle and by the tables`, async () => {
    const { code, out, err } = await shell().gingham(['try', path.join(FOLDER, file)])
    assert.deepEqual([code, err], [0, ''], out)
    const resources = new Map<ResourceKey, Resource>()
    for (const { value } of parseInput(file, readFileSync(path.join(FOLDER, file), 'utf8')).documents) {
      const { kind, flows = [] } = value as { kind: string; flows?: Asked[] }
      if (kind === 'Expect') for (const asked of flows) if (!asked.at) judged(resources, asked)
      if (kind === 'Expect') continue
      const decoded = decodeResource(value, { defaultNamespace: 'default' })
      assert.ok(decoded.ok)
      resources.set(keyOf(decoded.value), decoded.value)
    }
  })
}

function judged(resources: ReadonlyMap<ResourceKey, Resource>, { from, to, service }: Asked): void {
  const view = derived(resources)
  const addressOf = (text: string) => {
    const wanted = text.includes('/') ? text : `default/${text}`
    const pod = [...ofKind(view, 'WorkloadEndpoint')].find(w => `${w.metadata.namespace}/${w.spec.pod}` === wanted)
    return parseAddr(text) ?? parseAddr(pod!.spec.ipNetworks![0]!.split('/')[0]!)!
  }
  const packet = {
    family: 4 as const,
    protocol: 6,
    src: addressOf(from),
    dst: addressOf(to),
    sport: 49152,
    dport: Number(service.replace('tcp/', '')),
  }
  const decision = decide(resources, packet)
  const tables = ['node-a', 'node-b'].map(node => classify(computeIntent(view, node)))
  for (const direction of DIRECTIONS) {
    const own = direction === 'ingress' ? packet.dst : packet.src
    const found = tables.flatMap(c =>
      c.dispatch.filter(d => d.endpoint.addresses.includes(own)).map(d => judgeAt(c, d.groups[direction], packet)),
    )
    const expected = decision[direction]
    assert.deepEqual(
      found.map(f => printCause(f.cause)),
      expected ? [printCause(expected.cause)] : [],
    )
  }
}
