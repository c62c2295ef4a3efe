import assert from 'node:assert/strict'
import { test } from 'node:test'
import { parseAllDocuments } from 'yaml'
import { admissionObjects } from '../../core/kubernetes/admission.ts'
import { customResourceDefinitions } from '../../core/kubernetes/crd.ts'
import { shell } from './shell.fixture.ts'

test('crds prints what kubectl applies, and needs no datastore', async () => {
  const printed = async (...args: string[]) => {
    const said = await shell().gingham(['crds', ...args])
    assert.equal(said.code, 0, said.err)
    return parseAllDocuments(said.out).map(document => document.toJS())
  }
  assert.deepEqual(await printed(), [...customResourceDefinitions(), ...admissionObjects()])
  assert.deepEqual(await printed('--no-admission'), customResourceDefinitions())
})
