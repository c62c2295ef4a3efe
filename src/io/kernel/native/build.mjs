// Builds the addon: one gcc line, no node-gyp. Plain JavaScript, because the set-up runs under whatever Node is there.
// The headers come from the Node package that runs the project; the output is build/gingham.node at the repository root.
import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, renameSync, statSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const SOURCE = fileURLToPath(new URL('./addon.c', import.meta.url))
const ROOT = fileURLToPath(new URL('../../../../', import.meta.url))

/** Where the addon is built to. */
export const ADDON = join(ROOT, 'build', 'gingham.node')

/** Builds the addon unless it is newer than its source; returns its path. Throws one sentence with the fix. */
export function buildAddon() {
  if (existsSync(ADDON) && statSync(ADDON).mtimeMs > statSync(SOURCE).mtimeMs) return ADDON
  const headers = join(ROOT, 'node_modules', `node-linux-${process.arch}`, 'include', 'node')
  if (!existsSync(join(headers, 'node_api.h'))) throw new Error(`no Node headers in ${headers}: run npm install`)
  mkdirSync(dirname(ADDON), { recursive: true })
  // Built beside and renamed, so that a running process keeps its file and two builds do not meet.
  const fresh = `${ADDON}.${process.pid}`
  const flags = ['-O2', '-Wall', '-Wextra', '-Werror', '-shared', '-fPIC', '-DNAPI_VERSION=8', '-isystem', headers]
  try {
    execFileSync('gcc', [...flags, '-o', fresh, SOURCE], { stdio: ['ignore', 'inherit', 'pipe'] })
  } catch (error) {
    if (error.code === 'ENOENT') throw new Error('no C compiler: apt-get install gcc libc6-dev')
    throw new Error(`gcc could not build the kernel addon: ${String(error.stderr).trim()}`)
  }
  renameSync(fresh, ADDON)
  return ADDON
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  try {
    process.stdout.write(`${buildAddon()}\n`)
  } catch (error) {
    process.stderr.write(`${error.message}\n`)
    process.exitCode = 1
  }
}
