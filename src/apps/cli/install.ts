// `gingham install manifest`: what a cluster needs to run this project, to be read, kept, and given to `kubectl apply`.
import { type Command, InvalidArgumentError } from 'commander'
import { stringify } from 'yaml'
import { installManifest, type ManifestOptions } from '../../core/install/manifest.ts'
import { admissionObjects } from '../../core/kubernetes/admission.ts'
import { customResourceDefinitions } from '../../core/kubernetes/crd.ts'
import { parsePrefix } from '../../core/net/prefix.ts'
import { parseMethod } from '../../core/node/autodetect.ts'
import { examples, type Surroundings } from './surroundings.ts'

const HEAD = `# What a Kubernetes cluster needs to run gingham: kubectl apply -f FILE. Applied again it changes nothing.
# Made by \`gingham install manifest\`, which has options; do not edit.
`

/** Objects as one YAML text, without references between them: kubectl reads them, people as well. */
export const printManifest = (options: ManifestOptions): string =>
  HEAD +
  [...customResourceDefinitions(), ...admissionObjects(), ...installManifest(options)]
    .map(object => `---\n${stringify(object, { aliasDuplicateObjects: false, lineWidth: 0 })}`)
    .join('')

function pool(text: string): string {
  const parsed = parsePrefix(text)
  if (parsed === undefined || parsed.includes(':'))
    throw new InvalidArgumentError('not an IPv4 CIDR, such as 192.168.0.0/16')
  return parsed
}

function method(text: string): string {
  const parsed = parseMethod(text)
  if (!parsed.ok) throw new InvalidArgumentError(`${parsed.problems[0]!.message}: ${parsed.problems[0]!.fix ?? ''}`)
  return text
}

export function addInstallCommands(root: Command, { terminal }: Surroundings): void {
  root
    .command('install')
    .description('print what is to be installed')
    .command('manifest')
    .description('print the objects that a Kubernetes cluster needs')
    .option('--image <reference>', 'the container image (npm run image builds it)')
    .option('--pool <cidr>', 'CIDR of the first IPv4 pool (default 192.168.0.0/16)', pool)
    .option('--ipv6', 'give pods IPv6 addresses, too: create an IPv6 pool for them')
    .option('--autodetection <method>', "how to find a node's address (default kubernetes-internal-ip)", method)
    .addHelpText(
      'after',
      examples('gingham install manifest | kubectl apply -f -', 'gingham install manifest --pool 10.244.0.0/16 --ipv6'),
    )
    .action((options: ManifestOptions) => terminal.out(printManifest(options)))
}
