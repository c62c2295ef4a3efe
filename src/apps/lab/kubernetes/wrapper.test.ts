import assert from 'node:assert/strict'
import { test } from 'node:test'
import { linkerFlags, WRAPPERS, wrapKubernetes } from './wrapper.ts'

const GO_MOD = `// generated
module k8s.io/kubernetes

go 1.26.0

require (
	github.com/a/b v1.2.3
	k8s.io/api v0.0.0
	k8s.io/kube-openapi v0.0.0-20260721132016-d427ff9ee9ad
	k8s.io/utils v0.0.0-20260626114624-be93311217bd
)

replace (
	k8s.io/api => ./staging/src/k8s.io/api
)
`

test('the wrapper of Kubernetes requires it, and its staging folders as the modules they are published as', () => {
  assert.equal(
    wrapKubernetes(GO_MOD, '1.37.2'),
    `// generated
module gingham/kubernetes

require k8s.io/kubernetes v1.37.2

go 1.26.0

require (
	github.com/a/b v1.2.3
	k8s.io/api v0.37.2
	k8s.io/kube-openapi v0.0.0-20260721132016-d427ff9ee9ad
	k8s.io/utils v0.0.0-20260626114624-be93311217bd
)

replace (
	k8s.io/api => k8s.io/api v0.37.2
)
`,
  )
})

test('the wrapper of etcd requires it with the Go it was written for', () => {
  const { wrap, source } = WRAPPERS.etcd
  const text = wrap('module x\n\ngo 1.26.4\n\nreplace a => ../a\n', '3.7.3')
  assert.equal(text, `module gingham/etcd\n\ngo 1.26.4\n\nrequire ${source} v3.7.3\n`)
})

test('the components know their version', () => {
  const flags = linkerFlags('1.37.2')
  assert.match(flags, /^-s -w /)
  assert.match(flags, /-X k8s\.io\/component-base\/version\.gitVersion=v1\.37\.2/)
  assert.match(flags, /-X k8s\.io\/client-go\/pkg\/version\.gitMinor=37/)
})
