// Resources as YAML and JSON the way calicoctl prints them: YAML with sorted keys and the quoting of YAML 1.1 (where `yes`
// and `1:20` mean something else), JSON in the order of Calico's types with Go's escapes. One object stands bare.
import { stringify } from 'yaml'
import { documentKind, documentOf, KINDS, type Kind, type Resource } from '../../core/resources/resource.ts'

/** What is asked for: all resources of a kind, or some by name. */
export type Output =
  | { readonly kind: 'list'; readonly of: Kind; readonly resources: readonly Resource[]; readonly revision: number }
  | { readonly kind: 'named'; readonly resources: readonly Resource[] }

function document(output: Output): unknown {
  const documents = output.resources.map(documentOf)
  if (output.kind === 'named') return documents.length === 1 ? documents[0] : documents
  return {
    kind: `${documentKind(output.of)}List`,
    apiVersion: KINDS[output.of].apiVersion,
    metadata: { resourceVersion: String(output.revision) },
    items: documents,
  }
}

export function printYaml(output: Output): string {
  return stringify(document(output), {
    version: '1.1',
    sortMapEntries: true,
    indentSeq: false,
    lineWidth: 0,
    aliasDuplicateObjects: false,
  })
}

export const printJson = (output: Output): string =>
  `${JSON.stringify(document(output), undefined, 2).replace(/[<>&\u2028\u2029]/g, c => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`)}\n`

/** `networkpolicy.projectcalico.org/web`, `pod/web`: what kubectl prints for -o name. */
export function printNames(resources: readonly Resource[]): string {
  return resources
    .map(({ kind, apiVersion, metadata }) => {
      const [group, version] = apiVersion.split('/')
      return `${documentKind(kind).toLowerCase()}${version === undefined ? '' : `.${group}`}/${metadata.name}\n`
    })
    .join('')
}
