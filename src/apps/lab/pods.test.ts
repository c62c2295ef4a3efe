// Pods and parts of the lab against an agent that only writes down what the real CNI client sends it.
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import http from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { startPart } from './part.ts'
import { names } from './plan.ts'
import { CniError, installPlugin, Pods } from './pods.ts'
import { RunFolder } from './run-folder.ts'
import { addNamespace } from './topology.ts'

const prefix = `gtest${process.pid}p`
const base = mkdtempSync(join(tmpdir(), 'gingham-lab-'))
const agentSocket = join(base, 'agent.sock')
const pod = { node: 'node-a', namespace: 'default', name: 'web' }

describe('the parts of the lab', () => {
  let folder: RunFolder
  let pods: Pods
  const seen: { headers: http.IncomingHttpHeaders; body: string }[] = []
  let answer = { status: 200, body: '' }
  const agent = http.createServer(async (request, response) => {
    let body = ''
    for await (const chunk of request) body += chunk
    seen.push({ headers: request.headers, body })
    response.writeHead(answer.status).end(answer.body)
  })

  before(async () => {
    const client = execFileSync(process.execPath, [join(import.meta.dirname, '../cni/build-client.mjs')], {
      encoding: 'utf8',
    }).trim()
    folder = await RunFolder.claim(join(base, 'run'), prefix)
    addNamespace(folder, names(prefix).node('node-a'))
    const plugin = installPlugin(folder, { name: 'node-a', agentSocket, client })
    pods = new Pods(folder, { prefix, plugins: new Map([['node-a', plugin]]) })
    await new Promise<void>(resolve => agent.listen(agentSocket, resolve))
  })
  after(async () => {
    agent.close()
    await folder.cleanUp()
    rmSync(base, { recursive: true, force: true })
  })

  it('wire a pod as a container runtime does', async () => {
    answer = {
      status: 200,
      body: JSON.stringify({ cniVersion: '1.0.0', ips: [{ address: '192.168.0.1/32' }, { address: 'fd00::1/128' }] }),
    }
    const wired = await pods.create(pod)
    assert.deepEqual(wired.addresses, ['192.168.0.1', 'fd00::1'])
    assert.ok(existsSync(`/run/netns/${wired.netns}`))
    const { headers, body } = seen.at(-1)!
    assert.equal(headers['cni-command'], 'ADD')
    assert.equal(headers['cni-netns'], `/run/netns/${wired.netns}`)
    assert.equal(headers['cni-ifname'], 'eth0')
    assert.match(headers['cni-containerid'] as string, /^[0-9a-f]{64}$/)
    const args = decodeURIComponent(headers['cni-args'] as string).split(';')
    assert.ok(args.includes('K8S_POD_NAMESPACE=default') && args.includes('K8S_POD_NAME=web'))
    assert.equal(JSON.parse(body).type, 'gingham')
  })

  it('take a pod away again', async () => {
    answer = { status: 200, body: '' }
    await pods.remove(pod)
    assert.equal(seen.at(-1)?.headers['cni-command'], 'DEL')
    assert.ok(!existsSync(`/run/netns/${pods.netns(pod)}`))
  })

  it('leave no namespace of a pod that was refused, and say why', async () => {
    answer = {
      status: 500,
      body: JSON.stringify({ cniVersion: '1.0.0', code: 11, msg: 'no address left', details: 'pool x' }),
    }
    await assert.rejects(pods.create(pod), (error: unknown) => {
      assert.ok(error instanceof CniError)
      assert.equal(error.code, 11)
      assert.equal(error.message, 'CNI ADD for default/web: no address left: pool x')
      return true
    })
    assert.ok(!existsSync(`/run/netns/${pods.netns(pod)}`))
  })

  it('are processes in namespaces, with a log, and end when told', async () => {
    const part = startPart(folder, {
      name: 'echo',
      namespace: names(prefix).node('node-a'),
      command: ['sh', '-c', 'ip -o link | wc -l; exec sleep 1000'],
    })
    while (readFileSync(part.log, 'utf8') === '') await new Promise(resolve => setTimeout(resolve, 10))
    assert.equal(readFileSync(part.log, 'utf8').trim(), '1', 'the namespace has lo only')
    assert.ok(part.alive())
    await part.stop()
    assert.equal(await part.ended, 'SIGTERM')
    assert.ok(!part.alive())
  })
})
