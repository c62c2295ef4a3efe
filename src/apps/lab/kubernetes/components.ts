// The parts of a real Kubernetes that the lab and the tests run, and where they lie once they are built: binaries made
// from Go modules by `npm run kubernetes:build`, in a cache outside the tree that all checkouts share.
import { accessSync, constants } from 'node:fs'
import { join } from 'node:path'
import { cacheFolder } from '../../../io/cache.ts'

export const KUBERNETES_VERSION = '1.37.2'
export const ETCD_VERSION = '3.7.3'
export const COREDNS_VERSION = '1.15.0'

/** Which wrapper module builds a component; see `wrapper.ts`. */
export type ModuleName = 'kubernetes' | 'etcd' | 'coredns'

export type Component = {
  readonly name: string
  readonly module: ModuleName
  readonly package: string
  /** A test binary is made by `go test -c`. */
  readonly test?: boolean
  /** Seconds on two idle cores, nothing compiled before but what stands above it here: for the estimate. */
  readonly seconds: number
}

/** What lies in a folder of Kubernetes' own tree under its name. */
const below =
  (folder: string) =>
  (name: string, seconds: number): Component => ({
    name,
    module: 'kubernetes',
    package: `k8s.io/kubernetes/${folder}/${name}`,
    seconds,
  })
const command = below('cmd')
const testImage = below('test/images')

/** In the order of building: what the API needs first, then what nodes need, then the suites. */
export const COMPONENTS: readonly Component[] = [
  command('kube-apiserver', 500),
  { name: 'etcd', module: 'etcd', package: 'go.etcd.io/etcd/server/v3', seconds: 98 },
  command('kubectl', 27),
  command('kubelet', 110),
  command('kube-controller-manager', 56),
  command('kube-scheduler', 19),
  command('kube-proxy', 12),
  testImage('agnhost', 11),
  testImage('regression-issue-74839', 1),
  { name: 'coredns', module: 'coredns', package: 'github.com/coredns/coredns', seconds: 167 },
  { name: 'ginkgo', module: 'kubernetes', package: 'github.com/onsi/ginkgo/v2/ginkgo', seconds: 10 },
  { name: 'e2e.test', module: 'kubernetes', package: 'k8s.io/kubernetes/test/e2e', test: true, seconds: 250 },
]

/** What a control plane without controllers needs. */
export const API_COMPONENTS: readonly string[] = ['kube-apiserver', 'etcd', 'kubectl']

/** The folder of one version of Kubernetes: `bin/` and what builds it. */
export const kubernetesFolder = (env?: NodeJS.ProcessEnv): string =>
  join(cacheFolder(env), 'kubernetes', KUBERNETES_VERSION)

export const componentPath = (name: string, env?: NodeJS.ProcessEnv): string => join(kubernetesFolder(env), 'bin', name)

/** A binary gets its name when it is whole, so being there is being built. */
export function isBuilt(name: string, env?: NodeJS.ProcessEnv): boolean {
  try {
    accessSync(componentPath(name, env), constants.X_OK)
    return true
  } catch {
    return false
  }
}

export const missingComponents = (names: readonly string[], env?: NodeJS.ProcessEnv): readonly string[] =>
  names.filter(name => !isBuilt(name, env))
