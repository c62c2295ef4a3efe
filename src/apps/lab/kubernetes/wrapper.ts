// The Go modules that the components are built from. A module whose go.mod replaces others by folders of its own tree
// (as those of Kubernetes and etcd do) cannot be installed by name: a wrapper module requires it instead, and says where the
// replaced modules are published.
import { COREDNS_VERSION, ETCD_VERSION, KUBERNETES_VERSION, type ModuleName } from './components.ts'

const STAGING = /=> \.\/staging\/src\/(\S+)/g
const UNVERSIONED = /^(\s*k8s\.io\/\S+) v0\.0\.0$/gm

/**
 * The wrapper's go.mod from Kubernetes' own: renamed, requiring the version it came from. The staging folders are published
 * as modules of their own under v0.MINOR.PATCH.
 */
export function wrapKubernetes(goMod: string, version: string): string {
  const published = `v0${version.slice(version.indexOf('.'))}`
  return goMod
    .replace(/^module k8s\.io\/kubernetes$/m, `module gingham/kubernetes\n\nrequire k8s.io/kubernetes v${version}`)
    .replace(UNVERSIONED, `$1 ${published}`)
    .replace(STAGING, `=> $1 ${published}`)
}

export type Wrapper = {
  /** The module to take from the Go proxy. */
  readonly source: string
  readonly version: string
  readonly wrap: (goMod: string, version: string) => string
}

/** For a module whose own replacements, if it has any, name folders of its tree only: what it requires is published. */
const requiring = (name: ModuleName, source: string, version: string): Wrapper => ({
  source,
  version,
  wrap: goMod => {
    const go = /^go \S+$/m.exec(goMod)?.[0] ?? 'go 1.26'
    return `module gingham/${name}\n\n${go}\n\nrequire ${source} v${version}\n`
  },
})

export const WRAPPERS: Readonly<Record<ModuleName, Wrapper>> = {
  kubernetes: { source: 'k8s.io/kubernetes', version: KUBERNETES_VERSION, wrap: wrapKubernetes },
  etcd: requiring('etcd', 'go.etcd.io/etcd/server/v3', ETCD_VERSION),
  coredns: requiring('coredns', 'github.com/coredns/coredns', COREDNS_VERSION),
}

/** Linker flags: no symbols, and the version that the components report, which is not in their sources. */
export function linkerFlags(version: string): string {
  const [major, minor] = version.split('.')
  const variables = { gitVersion: `v${version}`, gitMajor: major, gitMinor: minor, gitTreeState: 'clean' }
  const packages = ['k8s.io/component-base/version', 'k8s.io/client-go/pkg/version']
  const settings = packages.flatMap(path =>
    Object.entries(variables).map(([name, value]) => `-X ${path}.${name}=${value}`),
  )
  return ['-s', '-w', ...settings].join(' ')
}
