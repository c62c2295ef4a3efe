// The network of the lab with real BIRDs on the three nodes and on the router: what examples/lab/cluster.yaml says becomes
// routes in every node's kernel, in both families; node-a reaches node-b directly, and node-c through the router.
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { parseAllDocuments } from 'yaml'
import { NODE_AS, NODES, names, OUTSIDE, RACKS, ROUTER_AS } from '../../src/apps/lab/plan.ts'
import { renderRouter } from '../../src/apps/lab/router.ts'
import { RunFolder } from '../../src/apps/lab/run-folder.ts'
import { buildTopology } from '../../src/apps/lab/topology.ts'
import { birdConfigOf } from '../../src/core/bird/node-config.ts'
import { peersOf } from '../../src/core/bird/peers.ts'
import { renderBird } from '../../src/core/bird/render.ts'
import { FAMILIES } from '../../src/core/net/addr.ts'
import { prefix as net } from '../../src/core/net/prefix.ts'
import { decodeResource, ofKind, type Resource, type Snapshot, snapshotOf } from '../../src/core/resources/resource.ts'
import { Bird } from '../../src/io/bird/bird.ts'

function readCluster(): Snapshot {
  const file = new URL('../../examples/lab/cluster.yaml', import.meta.url)
  const resources = parseAllDocuments(readFileSync(file, 'utf8')).map((document): Resource => {
    assert.deepEqual(document.errors, [])
    const decoded = decodeResource(document.toJS())
    assert.ok(decoded.ok, JSON.stringify(decoded))
    return decoded.value
  })
  return snapshotOf(resources)
}

const cluster = readCluster()

describe('the cluster of the lab', () => {
  it('has the nodes and routers of the plan', () => {
    const nodes = [...ofKind(cluster, 'Node')].map(({ metadata, spec }) => [
      metadata.name,
      spec.bgp?.ipv4Address,
      spec.bgp?.ipv6Address,
    ])
    assert.deepEqual(
      nodes,
      NODES.map(({ name, address, rack }) => [
        name,
        `${address[4]}/${rack.length[4]}`,
        `${address[6]}/${rack.length[6]}`,
      ]),
    )
    for (const { name, rack } of NODES) {
      const { peers, problems } = peersOf(cluster, name)
      assert.deepEqual(problems, [])
      assert.deepEqual(
        peers.map(peer => [peer.address, peer.as, peer.allowLocalAs, peer.passive]),
        FAMILIES.map(family => [rack.router[family], ROUTER_AS, 1, false]),
      )
      assert.equal(birdConfigOf(cluster, { node: name, blocks: [], borrowed: [] })?.config.localAs, NODE_AS)
    }
  })

  it('has pods on every node, and a backend’s named port', () => {
    const pods = [...ofKind(cluster, 'Pod')]
    assert.deepEqual(
      [...new Set(pods.map(({ spec }) => spec.nodeName))].sort(),
      NODES.map(({ name }) => name),
    )
    assert.deepEqual([...new Set(pods.map(({ metadata }) => metadata.namespace))], ['default', 'prod'])
    for (const { metadata, spec } of pods) {
      const port = spec.containers?.[0]?.ports?.[0]
      assert.deepEqual(
        [port?.name, port?.containerPort],
        metadata.labels?.role === 'backend' ? ['http', 8080] : [undefined, undefined],
      )
    }
  })
})

describe('the network of the lab', () => {
  const prefix = `gtest${process.pid}`
  const base = mkdtempSync(join(tmpdir(), 'gingham-lab-'))
  const { node, router } = names(prefix)
  const birds: Bird[] = []
  let folder: RunFolder

  const block = (index: number) => ({ 4: net(`192.168.${index}.0/26`), 6: net(`fd00:10:244:0:${index}::/122`) })
  const inside = (namespace: string, ...words: string[]): string =>
    execFileSync('ip', ['-n', namespace, ...words], { encoding: 'utf8' })
  async function startBird(namespace: string, config: string): Promise<void> {
    const bird = new Bird({ folder: folder.folder(namespace), command: ['ip', 'netns', 'exec', namespace, 'bird'] })
    birds.push(bird)
    await bird.apply(config)
  }
  // BGP tells an IPv6 next hop with its link-local address (RFC 2545), and BIRD takes that one towards a neighbour.
  const linkLocal = (rack: string): string =>
    /(fe80::\S+)\/64/.exec(inside(router, '-6', 'address', 'show', 'dev', rack, 'scope', 'link'))![1]!
  const via = (at: string, family: 4 | 6, to: string): string | undefined =>
    / via (\S+)/.exec(inside(at, `-${family}`, 'route', 'show', to))?.[1]

  before(async () => {
    folder = await RunFolder.claim(join(base, 'run'), prefix)
    buildTopology(folder, prefix)
    await startBird(router, renderRouter())
    for (const [index, { name }] of NODES.entries()) {
      const { config } = birdConfigOf(cluster, { node: name, blocks: Object.values(block(index)), borrowed: [] })!
      await startBird(node(name), renderBird(config))
    }
  })
  after(async () => {
    await Promise.all(birds.map(bird => bird.stop()))
    await folder?.cleanUp()
    rmSync(base, { recursive: true, force: true })
    assert.ok(!execFileSync('ip', ['netns'], { encoding: 'utf8' }).includes(prefix))
  })

  it('carries the blocks of each node to every other, directly within a rack and over the router between them', async () => {
    const wanted = NODES.flatMap((from, i) =>
      NODES.flatMap((to, j) =>
        i === j
          ? []
          : FAMILIES.map(family => ({
              from,
              family,
              to: block(j)[family],
              via:
                from.rack === to.rack
                  ? to.address[family]
                  : family === 4
                    ? from.rack.router[4]
                    : linkLocal(from.rack.name),
            })),
      ),
    )
    const wrong = (): string[] =>
      wanted.flatMap(one => {
        const found = via(node(one.from.name), one.family, one.to)
        return found === one.via ? [] : [`${one.from.name}: ${one.to} via ${found}, not ${one.via}`]
      })
    for (let i = 0; i < 1200 && wrong().length > 0; i++) await delay(50)
    assert.deepEqual(wrong(), [])
  })

  it('lets nodes reach each other and the world outside, over the router', () => {
    for (const { name, rack } of NODES) {
      for (const family of FAMILIES) {
        const route = inside(node(name), `-${family}`, 'route', 'get', OUTSIDE[family])
        assert.match(route, new RegExp(`via ${rack.router[family]} `))
      }
    }
    assert.equal(RACKS.length, 2)
  })
})
