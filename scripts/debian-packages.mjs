// The Debian packages, each installed only when what it brings is missing, and without starting a service.
import { existsSync, rmSync, writeFileSync } from 'node:fs'
import { findProgram, lastLines, run, SetUpError } from './run.mjs'

const NEEDS = [
  { name: 'nftables', there: () => findProgram('nft') },
  { name: 'bird2', there: () => findProgram('bird') },
  { name: 'iproute2', there: () => findProgram('ip') },
  { name: 'openssl', there: () => findProgram('openssl') },
  { name: 'gcc', there: () => findProgram('gcc') },
  { name: 'libc6-dev', there: () => existsSync('/usr/include/stdio.h') },
]

/** What tests of a node beside others' rules need besides. */
const TEST_NEEDS = [
  { name: 'iptables', there: () => findProgram('iptables') },
  { name: 'containernetworking-plugins', there: () => existsSync('/usr/lib/cni/portmap') },
]

/** What Kubernetes' nodes need besides; installed for their lab only. */
const NODE_NEEDS = [
  ...TEST_NEEDS,
  { name: 'containerd', there: () => findProgram('containerd') && findProgram('ctr') },
  { name: 'runc', there: () => findProgram('runc') },
  { name: 'conntrack', there: () => findProgram('conntrack') },
  { name: 'ethtool', there: () => findProgram('ethtool') },
  { name: 'socat', there: () => findProgram('socat') },
]

/** What Kubernetes' own suite calls in its pods besides. */
const SUITE_NEEDS = [
  ...NODE_NEEDS,
  { name: 'busybox-static', there: () => findProgram('busybox') },
  { name: 'curl', there: () => findProgram('curl') },
  { name: 'bind9-dnsutils', there: () => findProgram('dig') },
  { name: 'wget', there: () => findProgram('wget') },
  { name: 'netcat-openbsd', there: () => findProgram('nc.openbsd') },
]

const MORE = { kubernetes: NODE_NEEDS, suite: SUITE_NEEDS, test: TEST_NEEDS }
const needsOf = purpose => [...NEEDS, ...(MORE[purpose] ?? [])]

/** Names of the packages that are missing for a purpose; see `setUp`. */
export const missingDebianPackages = purpose =>
  needsOf(purpose)
    .filter(need => !need.there())
    .map(need => need.name)

// invoke-rc.d and deb-systemd-invoke ask this program whether a service may start; 101 means no.
const POLICY = '/usr/sbin/policy-rc.d'

/** Forbids service starts while `body` runs. An administrator's own policy is left as it is. */
function withoutServices(body) {
  if (existsSync(POLICY)) return body()
  writeFileSync(POLICY, '#!/bin/sh\n# Written by the set-up of gingham; taken away when it ends.\nexit 101\n', {
    mode: 0o755,
  })
  try {
    return body()
  } finally {
    rmSync(POLICY, { force: true })
  }
}

function aptGet(args) {
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive', LC_ALL: 'C.UTF-8' }
  env.PATH = `${env.PATH}:/usr/sbin:/sbin`
  return run('apt-get', ['-qq', '-o', 'DPkg::Lock::Timeout=300', ...args], { env })
}

export function installDebianPackages(purpose) {
  const packages = missingDebianPackages(purpose)
  const update = aptGet(['update'])
  const install = withoutServices(() => aptGet(['install', '--no-install-recommends', '-y', ...packages]))
  // A host on which a package's scripts cannot start a service still has the program, and the program is what counts.
  const missing = missingDebianPackages(purpose)
  if (missing.length > 0) {
    throw new SetUpError(
      `The Debian package${missing.length > 1 ? 's' : ''} ${missing.join(', ')} could not be installed.`,
      `Run: apt-get update && apt-get install ${missing.join(' ')}${lastLines(update.code === 0 ? install.output : update.output + install.output)}`,
    )
  }
  // The lab and the agent start their own; the system's shall not start at the next boot either.
  if (packages.includes('bird2')) run('update-rc.d', ['bird', 'disable'])
  if (packages.includes('containerd')) run('update-rc.d', ['containerd', 'disable'])
}
