// Builds the components that are not there yet, one after the other. It can be stopped at any time: whole binaries stay,
// and of the one in work the compiled packages stay in Go's cache.
import { execFile, spawn } from 'node:child_process'
import { copyFile, mkdir, readFile, rename, writeFile } from 'node:fs/promises'
import { availableParallelism } from 'node:os'
import { delimiter, join } from 'node:path'
import { promisify } from 'node:util'
import { cacheFolder } from '../../../io/cache.ts'
import {
  COMPONENTS,
  type Component,
  componentPath,
  isBuilt,
  KUBERNETES_VERSION,
  kubernetesFolder,
  type ModuleName,
} from './components.ts'
import { printRemaining, type Step } from './estimate.ts'
import { linkerFlags, WRAPPERS } from './wrapper.ts'

const run = promisify(execFile)

/** The Go that wrote the go.mod; an older one would try to fetch a newer toolchain. */
const GO_NEEDED = [1, 26] as const

/** A failure that the user can mend. */
export class BuildError extends Error {
  override name = 'BuildError'
}

export type BuildOptions = {
  readonly names: readonly string[]
  readonly say: (line: string) => void
  /** Compilers at once; as many as there are processors unless given. */
  readonly jobs?: number
  readonly env?: NodeJS.ProcessEnv
}

function goEnvironment(env: NodeJS.ProcessEnv, jobs: number): NodeJS.ProcessEnv {
  return {
    ...env,
    // Where Go's own installer puts it, for shells that were not told.
    PATH: [env.PATH, '/usr/local/go/bin'].filter(Boolean).join(delimiter),
    GOCACHE: env.GOCACHE ?? join(cacheFolder(env), 'go-build'),
    GOMODCACHE: env.GOMODCACHE ?? (env.GOPATH || env.HOME ? undefined : join(cacheFolder(env), 'go-modules')),
    // Static programs, the same wherever they are built.
    CGO_ENABLED: '0',
    GOFLAGS: '-mod=mod -trimpath -buildvcs=false',
    GOMAXPROCS: String(jobs),
    GOTOOLCHAIN: 'local',
  }
}

async function checkGo(env: NodeJS.ProcessEnv): Promise<void> {
  const wanted = GO_NEEDED.join('.')
  const fix = `Install Go ${wanted} or later (https://go.dev/dl/) into /usr/local/go or the PATH.`
  const version = await run('go', ['env', 'GOVERSION'], { env }).then(
    ({ stdout }) => stdout.trim(),
    () => undefined,
  )
  if (version === undefined) throw new BuildError(`Building Kubernetes needs Go ${wanted}, which is not here. ${fix}`)
  const [major = 0, minor = 0] = version.replace(/^go/, '').split('.').map(Number)
  if (major < GO_NEEDED[0] || (major === GO_NEEDED[0] && minor < GO_NEEDED[1]))
    throw new BuildError(`Building Kubernetes needs Go ${wanted}; this is ${version}. ${fix}`)
}

/** Downloads a module and writes the wrapper that builds from it; gives the wrapper's folder. */
async function prepareModule(name: ModuleName, env: NodeJS.ProcessEnv): Promise<string> {
  const { source, version, wrap } = WRAPPERS[name]
  const folder = join(kubernetesFolder(env), 'modules', name)
  await mkdir(folder, { recursive: true })
  const { stdout } = await run('go', ['mod', 'download', '-json', `${source}@v${version}`], { cwd: folder, env }).catch(
    error => {
      throw new BuildError(
        `The module ${source} v${version} cannot be downloaded: ${String(error.stderr ?? error.message).trim()}`,
      )
    },
  )
  const { Dir, GoMod } = JSON.parse(stdout) as { Dir: string; GoMod: string }
  await writeFile(join(folder, 'go.mod'), wrap(await readFile(GoMod, 'utf8'), version))
  // What the source was checked with holds for the wrapper, too.
  await copyFile(join(Dir, 'go.sum'), join(folder, 'go.sum'))
  return folder
}

/** Runs the compiler; `tick` is called for each package it is through with. */
async function compile(
  component: Component,
  options: { folder: string; env: NodeJS.ProcessEnv; jobs: number; tick: () => void },
) {
  const target = componentPath(component.name, options.env)
  const partial = `${target}.partial`
  const args = [
    ...(component.test ? ['test', '-c'] : ['build']),
    ...[
      '-v',
      '-p',
      String(options.jobs),
      '-ldflags',
      linkerFlags(KUBERNETES_VERSION),
      '-o',
      partial,
      component.package,
    ],
  ]
  const child = spawn('go', args, { cwd: options.folder, env: options.env, stdio: ['ignore', 'ignore', 'pipe'] })
  let tail = ''
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    tail = (tail + text).slice(-4000)
    for (const character of text) if (character === '\n') options.tick()
  })
  const code = await new Promise<number | null>((resolve, reject) => child.on('error', reject).on('close', resolve))
  if (code !== 0) throw new BuildError(`${component.name} cannot be built:\n${tail.trimEnd()}`)
  await rename(partial, target)
}

/** Builds what is missing of the named components. Gives how many it built; throws a `BuildError` with the fix in it. */
export async function buildComponents(options: BuildOptions): Promise<number> {
  const jobs = options.jobs ?? availableParallelism()
  const env = goEnvironment(options.env ?? process.env, jobs)
  const wanted = COMPONENTS.filter(({ name }) => options.names.includes(name) && !isBuilt(name, env))
  if (wanted.length === 0) return 0
  await checkGo(env)
  await mkdir(join(kubernetesFolder(env), 'bin'), { recursive: true })
  options.say(
    `Kubernetes ${KUBERNETES_VERSION}: building ${wanted.map(({ name }) => name).join(', ')} into ${kubernetesFolder(env)}`,
  )
  const folders = new Map<ModuleName, string>()
  const done: Step[] = []
  for (const [i, component] of wanted.entries()) {
    const folder = folders.get(component.module) ?? (await prepareModule(component.module, env))
    folders.set(component.module, folder)
    const begun = Date.now()
    let packages = 0
    const progress = () => {
      const spent = (Date.now() - begun) / 1000
      const remaining = printRemaining({
        done,
        current: { expected: component.seconds, spent },
        ahead: wanted.slice(i + 1),
      })
      options.say(`${component.name} (${i + 1} of ${wanted.length}): ${packages} packages compiled; ${remaining}`)
    }
    progress()
    const timer = setInterval(progress, 15_000)
    try {
      await compile(component, { folder, env, jobs, tick: () => packages++ })
    } finally {
      clearInterval(timer)
    }
    const spent = (Date.now() - begun) / 1000
    done.push({ expected: component.seconds, spent })
    options.say(`${component.name}: built in ${Math.round(spent)} s`)
  }
  return wanted.length
}
