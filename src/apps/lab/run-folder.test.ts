// Labs that die, labs that live, and folders that are no lab's. The labs are processes of their own, as in life.
import assert from 'node:assert/strict'
import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, describe, it } from 'node:test'
import { makeCgroups, processesOf, systemProcs } from './cgroups.ts'
import { lives, type ProcessId, processId } from './process.ts'
import { LabInUse, RunFolder } from './run-folder.ts'

const prefix = `gtest${process.pid}`
const base = mkdtempSync(join(tmpdir(), 'gingham-lab-'))
const labs: ChildProcess[] = []

/** A lab that has a namespace, a process in it that ignores SIGTERM, and one outside; then waits. */
async function startLab(
  path: string,
  name = prefix,
): Promise<{ lab: ChildProcess; inside: ProcessId; outside: ProcessId }> {
  const script = `
    import { execFileSync, spawn } from 'node:child_process'
    import { RunFolder } from ${JSON.stringify(join(import.meta.dirname, 'run-folder.ts'))}
    const folder = await RunFolder.claim(${JSON.stringify(path)}, ${JSON.stringify(name)})
    folder.recordNamespace('${name}-x')
    execFileSync('ip', ['netns', 'add', '${name}-x'])
    const options = { detached: true, stdio: ['ignore', 'pipe', 'ignore'] }
    const inside = spawn('ip', ['netns', 'exec', '${name}-x', 'sh', '-c', 'trap "" TERM; echo; sleep 1000 & wait; wait'], options)
    await new Promise(resolve => inside.stdout.once('data', resolve))
    const outside = spawn('sleep', ['1000'], { ...options, stdio: 'ignore' })
    folder.recordProcess(outside.pid)
    console.log(inside.pid, outside.pid)
    setInterval(() => {}, 1000)`
  const lab = spawn(process.execPath, ['--input-type=module', '-e', script], { stdio: ['ignore', 'pipe', 'inherit'] })
  labs.push(lab)
  const line = await new Promise<string>((resolve, reject) => {
    lab.stdout!.once('data', chunk => resolve(String(chunk)))
    lab.once('exit', code => reject(new Error(`the lab ended with ${code}`)))
  })
  const [inside, outside] = line
    .trim()
    .split(' ')
    .map(pid => processId(Number(pid))!)
  return { lab, inside: inside!, outside: outside! }
}

const kill = (lab: ChildProcess): Promise<void> =>
  new Promise(resolve => {
    lab.removeAllListeners('exit')
    lab.once('exit', () => resolve())
    lab.kill('SIGKILL')
  })
const exists = (namespace: string): boolean => existsSync(`/run/netns/${namespace}`)

describe('the run folder of a lab', () => {
  after(async () => {
    for (const lab of labs) if (lab.exitCode === null && lab.signalCode === null) await kill(lab)
    // What a failed case left is cleaned up by the next claim.
    for (const name of readdirSync(base))
      if (existsSync(join(base, name, 'lab.json'))) await (await RunFolder.claim(join(base, name), prefix)).cleanUp()
    rmSync(base, { recursive: true, force: true })
  })

  it('of a dead lab is cleaned up by the next one: processes, namespaces, files', async () => {
    const path = join(base, 'dead')
    const { lab, inside, outside } = await startLab(path)
    writeFileSync(join(path, 'left'), '')
    await kill(lab)
    assert.ok(lives(inside) && lives(outside) && exists(`${prefix}-x`))
    const dead: number[] = []
    const folder = await RunFolder.claim(path, prefix, pid => dead.push(pid))
    assert.deepEqual(dead, [lab.pid])
    assert.ok(!lives(inside) && !lives(outside) && !exists(`${prefix}-x`))
    assert.deepEqual(readdirSync(path), ['lab.json'])
    await folder.cleanUp()
    assert.ok(!existsSync(path))
  })

  it('of a living lab is not touched, and the message says what to do', async () => {
    const path = join(base, 'live')
    const { lab, inside, outside } = await startLab(path)
    const record = readFileSync(join(path, 'lab.json'), 'utf8')
    await assert.rejects(RunFolder.claim(path, `${prefix}b`), (error: unknown) => {
      assert.ok(error instanceof LabInUse)
      assert.match(error.message, new RegExp(`process ${lab.pid}.*Ctrl-C.*--run`))
      return true
    })
    await assert.rejects(RunFolder.claim(join(base, 'other'), prefix), /--prefix/)
    assert.ok(lives(inside) && lives(outside) && exists(`${prefix}-x`))
    assert.equal(readFileSync(join(path, 'lab.json'), 'utf8'), record)
    await kill(lab)
    await (await RunFolder.claim(path, prefix)).cleanUp()
  })

  it('is not taken from something that is no lab', async () => {
    const path = mkdtempSync(join(base, 'used-'))
    writeFileSync(join(path, 'agent.sock'), '')
    await assert.rejects(RunFolder.claim(path, prefix), /not a lab/)
    assert.deepEqual(readdirSync(path), ['agent.sock'])
  })

  it('tells a process from another one with the same number', async () => {
    const path = join(base, 'reused')
    const folder = await RunFolder.claim(path, prefix)
    // A process that was never ours, under the number that a record names.
    const stranger = spawn('sleep', ['1000'], { stdio: 'ignore' })
    const id = processId(stranger.pid!)!
    folder.recordProcess(stranger.pid!)
    const file = join(path, 'lab.json')
    const record = JSON.parse(readFileSync(file, 'utf8'))
    writeFileSync(
      file,
      JSON.stringify({ ...record, lab: { pid: process.pid, started: '1' }, processes: [{ ...id, started: '2' }] }),
    )
    const next = await RunFolder.claim(path, prefix)
    assert.ok(lives(id))
    stranger.kill()
    await next.cleanUp()
  })

  it('ends what is in a recorded control group, down to the last child, and removes groups and empty mount points', async t => {
    const root = `${prefix}-node`
    const folder = await RunFolder.claim(join(base, 'groups'), prefix)
    const [mine, shared] = [join(base, 'mount/own'), join(base, 'mount/shared')]
    folder.recordCgroup(root)
    makeCgroups(root)
    folder.makeMountPoint(mine)
    folder.makeMountPoint(shared)
    writeFileSync(join(shared, 'somebody'), '')
    // Another lab's node has something there, where this process does not see it.
    const used = `${mine}-used`
    folder.makeMountPoint(used)
    const script = 'mount --bind "$0" "$0" && echo ready && exec sleep 1000'
    const other = spawn('unshare', ['--mount', '--propagation', 'private', 'sh', '-c', script, used])
    t.after(() => {
      other.kill('SIGKILL')
      rmSync(used, { recursive: true, force: true })
    })
    await once(other.stdout, 'data')
    // The parent ends; nobody knows its child any more but the group.
    execFileSync('sh', ['-c', 'echo $$ > "$0"; sleep 1000 > /dev/null 2>&1 &', systemProcs(root)])
    const [child, ...others] = processesOf(root)
    assert.ok(child && lives(child) && others.length === 0)
    await folder.cleanUp()
    assert.ok(!lives(child))
    assert.deepEqual(processesOf(root), [])
    const groups = execFileSync('find', ['/sys/fs/cgroup', '-maxdepth', '2', '-name', `${prefix}*`], {
      encoding: 'utf8',
    })
    assert.equal(groups, '')
    assert.ok(!existsSync(mine) && existsSync(join(shared, 'somebody')))
    assert.ok(existsSync(used), 'without it the other would have lost what it mounted')
  })

  it('takes no entries while it is being cleaned up', async () => {
    const folder = await RunFolder.claim(join(base, 'ending'), prefix)
    const cleaning = folder.cleanUp()
    assert.throws(() => folder.recordNamespace(`${prefix}-late`), /being cleaned up/)
    await Promise.all([cleaning, folder.cleanUp()])
  })

  it('has no namespaces of tests left over', () => {
    assert.ok(!execFileSync('ip', ['netns'], { encoding: 'utf8' }).includes(prefix))
  })
})
