// The npm packages: present when what npm noted down of its last installation is what the lock file asks for.
import { existsSync, lstatSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { lastLines, NODE, ROOT, run, SetUpError } from './run.mjs'

const packagesOf = file => JSON.parse(readFileSync(join(ROOT, file), 'utf8')).packages

/** Compares contents, not times: a checkout touches the lock file without changing it. */
export function npmPackagesPresent() {
  if (!existsSync(NODE) || !existsSync(join(ROOT, 'node_modules/.package-lock.json'))) return false
  const wanted = packagesOf('package-lock.json')
  const found = packagesOf('node_modules/.package-lock.json')
  // Optional packages of other platforms are in the lock file and rightly not installed.
  const missing = Object.keys(wanted).some(name => name !== '' && !wanted[name].optional && found[name] === undefined)
  return !missing && Object.keys(found).every(name => found[name].version === wanted[name]?.version)
}

export function installNpmPackages() {
  // `npm ci` empties node_modules first, through a link too: what it points at is somebody else's.
  if (lstatSync(join(ROOT, 'node_modules'), { throwIfNoEntry: false })?.isSymbolicLink())
    throw new SetUpError(
      'node_modules is a link, and what it points at is not what the lock file asks for.',
      'Remove the link (rm node_modules), or install where it points.',
    )
  const { code, output } = run('npm', ['ci', '--no-progress', '--loglevel=error'])
  if (code === 127) throw new SetUpError('npm is not installed.', 'Run: apt-get install npm')
  if (code !== 0) {
    throw new SetUpError(
      'npm could not install the packages.',
      `Check the network and the registry (npm ping), then run: npm ci${lastLines(output)}`,
    )
  }
  if (!existsSync(NODE)) {
    throw new SetUpError(
      `There is no packaged Node 26 for ${process.platform} ${process.arch}.`,
      'Use a Linux machine with an x64 or arm64 processor.',
    )
  }
}
