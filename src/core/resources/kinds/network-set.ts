// NetworkSet and GlobalNetworkSet: addresses with labels, so that rules can select them like endpoints.
import { z } from 'zod'
import type { Problem } from '../../base/problem.ts'
import { list, net } from '../field.ts'
import { calicoKind } from '../kind.ts'
import { calicoHead, type Metadata } from '../metadata.ts'

export const NAMESPACE_LABEL = 'projectcalico.org/namespace'

const spec = z.strictObject({ nets: list(net()) }).prefault({})

function checkNamespaceLabel({ labels }: { readonly labels?: Metadata['labels'] | undefined }): Problem[] {
  if (labels?.[NAMESPACE_LABEL] === undefined) return []
  return [
    { path: 'metadata.labels', message: `${NAMESPACE_LABEL} is not a valid label name`, fix: 'it is set by itself' },
  ]
}

export const networkSet = calicoKind({
  kind: 'NetworkSet',
  plural: 'networksets',
  namespaced: true,
  aliases: ['netset', 'netsets'],
  schema: z.strictObject({ ...calicoHead('NetworkSet'), spec }),
  check: ({ metadata }) => checkNamespaceLabel(metadata),
})

export const globalNetworkSet = calicoKind({
  kind: 'GlobalNetworkSet',
  plural: 'globalnetworksets',
  namespaced: false,
  aliases: ['gnetsets', 'gns'],
  schema: z.strictObject({ ...calicoHead('GlobalNetworkSet'), spec }),
  check: ({ metadata }) => checkNamespaceLabel(metadata),
})
