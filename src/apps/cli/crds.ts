// crds: the definitions that a cluster needs before our kinds can be kept in it, as YAML for `kubectl apply`.
import type { Command } from 'commander'
import { stringify } from 'yaml'
import { admissionObjects } from '../../core/kubernetes/admission.ts'
import { customResourceDefinitions } from '../../core/kubernetes/crd.ts'
import { examples, type Surroundings } from './surroundings.ts'

export function addCrdsCommand(root: Command, { terminal }: Surroundings): void {
  root
    .command('crds')
    .description('print what a Kubernetes cluster needs to keep the kinds of projectcalico.org/v3')
    .option('--no-admission', 'the CustomResourceDefinitions alone, for API servers without MutatingAdmissionPolicy v1')
    .addHelpText('after', examples('gingham crds | kubectl apply --server-side -f -'))
    .action(({ admission }: { admission: boolean }) => {
      const objects = [...customResourceDefinitions(), ...(admission ? admissionObjects() : [])]
      // Long lines stay whole: the rules are code.
      terminal.out(
        objects.map(object => stringify(object, { lineWidth: 0, aliasDuplicateObjects: false })).join('---\n'),
      )
    })
}
