// Real unix sockets: agents that answer, that answer nonsense, that are gone.
import assert from 'node:assert/strict'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { createServer, type Server } from 'node:http'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { after, before, test } from 'node:test'
import { connectAgents } from './agents.ts'

const STATUS = {
  node: 'good',
  version: '1',
  pid: 1,
  uptimeSeconds: 5,
  ready: false,
  datastore: { connected: true, inSync: true, revision: 3 },
  dataplane: {
    programmed: true,
    programmedRevision: 3,
    lastWriteAt: null,
    table: 'inet gingham',
    endpoints: 1,
    atoms: 1,
    rows: 1,
    outcomes: 1,
    problems: [],
    more: 'than is known here',
  },
  bgp: null,
  pods: 1,
}
const OUTCOMES = [{ cause: 'x', direction: 'egress', chain: 'c', packets: 1, bytes: 2 }]

let run: string
const servers: Server[] = []

async function serve(node: string, answer: (url: string) => { code: number; body: string }): Promise<void> {
  const server = createServer((req, res) => {
    const { code, body } = answer(req.url ?? '')
    res.writeHead(code).end(body)
  })
  await new Promise<void>(resolve => server.listen(path.join(run, 'agents', `${node}.sock`), resolve))
  servers.push(server)
}

before(async () => {
  run = await mkdtemp(path.join(tmpdir(), 'gingham-agents-'))
  await mkdir(path.join(run, 'agents'))
  await serve('good', url => ({
    code: 503,
    body: JSON.stringify(url === '/status' ? STATUS : { outcomes: OUTCOMES }),
  }))
  await serve('odd', () => ({ code: 200, body: '{"node": 7}' }))
  await serve('mute', () => ({ code: 500, body: 'oops' }))
  await writeFile(path.join(run, 'agents', 'dead.sock'), '')
})
after(async () => {
  for (const server of servers) server.close()
  await rm(run, { recursive: true })
})

test('the nodes are those with a socket', async () => {
  assert.deepEqual(await connectAgents(run).nodes(), ['dead', 'good', 'mute', 'odd'])
  assert.deepEqual(await connectAgents(path.join(run, 'nowhere')).nodes(), [])
})

test('a status and counters are read; an unready agent answers too', async () => {
  const status = await connectAgents(run).status('good')
  assert.ok(status.ok)
  assert.equal(status.value.ready, false)
  assert.equal(status.value.dataplane.table, 'inet gingham')
  assert.deepEqual(await connectAgents(run).counters('good'), { ok: true, value: OUTCOMES })
})

test('whatever goes wrong is a sentence', async () => {
  const why = async (node: string): Promise<string> => {
    const answer = await connectAgents(run).status(node)
    return answer.ok ? 'ok' : answer.why
  }
  assert.match(await why('none'), /^no socket at .*none\.sock$/)
  assert.match(await why('dead'), /^nobody listens at /)
  assert.match(await why('odd'), /^\/status is not as expected at node: /)
  assert.equal(await why('mute'), 'it answered 500 and not JSON')
})
