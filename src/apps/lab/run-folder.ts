// What a lab leaves in the machine is written down before it is made: its processes with their start times, its network
// namespaces, its control groups, its files. So the next lab can clean up after one that was killed, and leaves alone one that lives.
import { execFileSync } from 'node:child_process'
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmdirSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { dirname, join } from 'node:path'
import { removeCgroups } from './cgroups.ts'
import { endProcesses, lives, type ProcessId, processesIn, processId } from './process.ts'

type Record = {
  readonly prefix: string
  readonly lab: ProcessId
  readonly processes: readonly ProcessId[]
  readonly namespaces: readonly string[]
  /** Roots of control groups. */
  readonly cgroups: readonly string[]
  /** Folders of the machine that were made to have something mounted on them; removed when empty. */
  readonly mountPoints: readonly string[]
}

const FILE = 'lab.json'

/** The lab cannot have this run folder or these names; the message says what to do. */
export class LabInUse extends Error {}

const namedNamespaces = (): string[] => {
  try {
    return readdirSync('/run/netns')
  } catch {
    return []
  }
}

function readRecord(folder: string): Record | undefined {
  try {
    // A record may be of a version that did not know some of it.
    const record = JSON.parse(readFileSync(join(folder, FILE), 'utf8')) as Partial<Record> &
      Pick<Record, 'prefix' | 'lab'>
    return { processes: [], namespaces: [], cgroups: [], mountPoints: [], ...record }
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw new LabInUse(
      `${join(folder, FILE)} cannot be read (${(error as Error).message}). Remove ${folder} by hand if no lab uses it.`,
    )
  }
}

async function remove(folder: string, record: Record): Promise<void> {
  await endProcesses(record.processes)
  for (const root of record.cgroups) await removeCgroups(root)
  const left = record.namespaces.filter(name => existsSync(`/run/netns/${name}`))
  // BIRD outlives its agent, and whatever a person started inside goes with the namespace.
  await endProcesses(left.flatMap(processesIn))
  for (const name of left) execFileSync('ip', ['netns', 'delete', name])
  rmSync(folder, { recursive: true, force: true })
  for (const path of record.mountPoints.toReversed()) removeEmpty(path)
}

/** Somebody may have begun to use it. */
function removeEmpty(path: string): void {
  try {
    if (!isMountedElsewhere(path)) rmdirSync(path)
  } catch (error) {
    if (!['ENOENT', 'ENOTEMPTY', 'EBUSY'].includes((error as NodeJS.ErrnoException).code ?? '')) throw error
  }
}

/** Whether any process has something mounted there: removing a folder would take the mounts of others on it away (Linux 3.18). */
function isMountedElsewhere(path: string): boolean {
  const seen = new Set<string>()
  return readdirSync('/proc').some(pid => {
    try {
      const namespace = /^\d+$/.test(pid) ? readlinkSync(`/proc/${pid}/ns/mnt`) : undefined
      if (namespace === undefined || seen.has(namespace)) return false
      seen.add(namespace)
      return readFileSync(`/proc/${pid}/mountinfo`, 'utf8').includes(` ${path} `)
    } catch {
      return false
    }
  })
}

export class RunFolder {
  readonly path: string
  #record: Record
  #removal: Promise<void> | undefined

  private constructor(path: string, record: Record) {
    this.path = path
    this.#record = record
    this.#write()
  }

  /**
   * Takes a run folder for a lab of this process, after cleaning up what a dead lab left in it (`onDead` is told its
   * process). Throws `LabInUse` when a lab lives there, or when the folder or the names belong to something else.
   */
  static async claim(path: string, prefix: string, onDead: (pid: number) => void = () => {}): Promise<RunFolder> {
    const record = readRecord(path)
    if (record !== undefined) {
      if (lives(record.lab)) {
        throw new LabInUse(
          `Another lab is running (process ${record.lab.pid}, ${path}). End it with Ctrl-C, or start this one with --run DIR --prefix NAME.`,
        )
      }
      onDead(record.lab.pid)
      await remove(path, record)
    } else if (existsSync(path) && readdirSync(path).length > 0) {
      throw new LabInUse(`${path} is in use by something that is not a lab. Start the lab with --run DIR.`)
    }
    const taken = namedNamespaces().filter(name => name.startsWith(`${prefix}-`))
    if (taken.length > 0) {
      throw new LabInUse(
        `There are network namespaces named ${taken[0]} and so on already. Start the lab with --prefix NAME.`,
      )
    }
    mkdirSync(path, { recursive: true })
    return new RunFolder(path, {
      prefix,
      lab: processId(process.pid)!,
      processes: [],
      namespaces: [],
      cgroups: [],
      mountPoints: [],
    })
  }

  /** A folder in the run folder, made if need be. */
  folder(name: string): string {
    const path = join(this.path, name)
    mkdirSync(path, { recursive: true })
    return path
  }

  /** To be called right after a start. */
  recordProcess(pid: number): void {
    const id = processId(pid)
    if (id !== undefined) this.#change({ ...this.#record, processes: [...this.#record.processes, id] })
  }

  /** To be called before a namespace is made. */
  recordNamespace(name: string): void {
    this.#change({ ...this.#record, namespaces: [...this.#record.namespaces, name] })
  }

  /** A namespace is gone again. */
  forgetNamespace(name: string): void {
    this.#change({ ...this.#record, namespaces: this.#record.namespaces.filter(other => other !== name) })
  }

  /** To be called before a root of control groups is made. */
  recordCgroup(root: string): void {
    this.#change({ ...this.#record, cgroups: [...this.#record.cgroups, root] })
  }

  /** Makes a folder of the machine, and those it lies in, unless they are there. */
  makeMountPoint(path: string): void {
    const missing: string[] = []
    for (let each = path; !existsSync(each); each = dirname(each)) missing.unshift(each)
    if (missing.length === 0) return
    this.#change({ ...this.#record, mountPoints: [...this.#record.mountPoints, ...missing] })
    mkdirSync(path, { recursive: true })
  }

  /** Ends and removes everything; safe to call twice. */
  cleanUp(): Promise<void> {
    this.#removal ??= remove(this.path, this.#record)
    return this.#removal
  }

  #change(record: Record): void {
    // A lab that is being cleaned up makes nothing new.
    if (this.#removal !== undefined) throw new Error('the lab is being cleaned up')
    this.#record = record
    this.#write()
  }

  /** Whole or not at all: a killed lab must not leave half a record. */
  #write(): void {
    const file = join(this.path, FILE)
    writeFileSync(`${file}.new`, `${JSON.stringify(this.#record, null, 2)}\n`)
    renameSync(`${file}.new`, file)
  }
}
