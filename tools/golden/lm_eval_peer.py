"""Runs lm-eval on a Hugging Face folder and local benchmark items, and writes what each item got.

usage: python lm_eval_peer.py MODEL DATA OUT.json [--limit 50] [--few-shot TASK=K ...] [--tasks a,b] [--threads N] [--max-length N]
       [--dtype float64]

The task files are written here, by lm-eval's own rules, with local JSONL in place of the hub; so nothing is downloaded.
OUT.json has, per task and number of examples, lm-eval's results and per item the log-likelihoods, whether they are greedy,
and the target. `lazy-attention benchmark` must give the same: log-likelihoods to 1e-3, predictions exactly.
Needs: pip install torch transformers lm-eval.
"""
import argparse
import json
import os
import pathlib
import tempfile

os.environ['HF_HUB_OFFLINE'] = '1'
os.environ['HF_DATASETS_OFFLINE'] = '1'

FUNCTIONS = '''
import importlib.util, pathlib
import lm_eval.tasks


def _module(path):
    file = pathlib.Path(lm_eval.tasks.__file__).parent / path
    spec = importlib.util.spec_from_file_location(file.stem + '_of_lm_eval', file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


_wikitext = _module('wikitext/preprocess_wikitext.py')
_hellaswag = _module('hellaswag/utils.py')
_winogrande = _module('winogrande/preprocess_winogrande.py')
wikitext_text, wikitext_results = _wikitext.wikitext_detokenizer, _wikitext.process_results
hellaswag_docs = _hellaswag.process_docs
winogrande_text, winogrande_target = _winogrande.doc_to_text, _winogrande.doc_to_target
winogrande_choice = _winogrande.doc_to_choice
'''

CHOICE = 'output_type: multiple_choice\nmetric_list: [{metric: acc}, {metric: acc_norm}, {metric: acc_bytes}]\n'
PLAIN = 'output_type: multiple_choice\nmetric_list: [{metric: acc}]\n'
ARC = CHOICE + '''doc_to_text: "Question: {{question}}\\nAnswer:"
doc_to_target: "{{choices.label.index(answerKey)}}"
doc_to_choice: "{{choices.text}}"
'''
# name: (folder, split, the rest of the task file)
TASKS = {
    'lambada_openai': ('lambada', 'test', '''output_type: loglikelihood
metric_list: [{metric: perplexity}, {metric: acc}]
doc_to_text: "{{text.split(' ')[:-1]|join(' ')}}"
doc_to_target: "{{' '+text.split(' ')[-1]}}"
'''),
    'wikitext': ('wikitext', 'test', '''output_type: loglikelihood_rolling
metric_list: [{metric: word_perplexity}, {metric: byte_perplexity}, {metric: bits_per_byte}]
doc_to_text: ""
doc_to_target: !function functions.wikitext_text
process_results: !function functions.wikitext_results
'''),
    'hellaswag': ('hellaswag', 'validation', CHOICE + '''process_docs: !function functions.hellaswag_docs
doc_to_text: "{{query}}"
doc_to_target: "{{label}}"
doc_to_choice: "choices"
'''),
    'piqa': ('piqa', 'validation', CHOICE + '''doc_to_text: "Question: {{goal}}\\nAnswer:"
doc_to_target: label
doc_to_choice: "{{[sol1, sol2]}}"
'''),
    'arc_easy': ('arc_easy', 'test', ARC),
    'arc_challenge': ('arc_challenge', 'test', ARC),
    'winogrande': ('winogrande', 'validation', PLAIN + '''doc_to_text: !function functions.winogrande_text
doc_to_target: !function functions.winogrande_target
doc_to_choice: !function functions.winogrande_choice
'''),
    'social_iqa': ('social_iqa', 'validation', PLAIN + '''doc_to_text: "Q: {{context}} {{question}}\\nA:"
doc_to_choice: "{{[answerA, answerB, answerC]}}"
doc_to_target: "{{ (label|int) - 1 }}"
'''),
    'boolq': ('boolq', 'validation', PLAIN + '''doc_to_text: "{{passage}}\\nQuestion: {{question}}?\\nAnswer:"
doc_to_target: label
doc_to_choice: ["no", "yes"]
'''),
    'openbookqa': ('openbookqa', 'test', CHOICE + '''doc_to_text: question_stem
doc_to_target: "{{choices.label.index(answerKey.lstrip())}}"
doc_to_choice: "{{choices.text}}"
'''),
}


def write_tasks(folder, data):
    (folder / 'functions.py').write_text(FUNCTIONS)
    for name, (place, split, rest) in TASKS.items():
        file = pathlib.Path(data).resolve() / place / f'{split}.jsonl'
        (folder / f'{name}.yaml').write_text(
            f'task: {name}_local\ndataset_path: json\ndataset_kwargs: {{data_files: {{{split}: "{file}"}}}}\n'
            f'test_split: {split}\nfewshot_split: {split}\n{rest}metadata: {{version: 1.0}}\n'
        )


def item(sample):
    responses = [response[0] if isinstance(response, list) else response for response in sample['resps']]
    pairs = [pair if isinstance(pair, (list, tuple)) else (pair, None) for pair in responses]
    return {
        'doc_id': sample['doc_id'],
        'log_likelihoods': [float(pair[0]) for pair in pairs],
        'is_greedy': [None if pair[1] is None else str(pair[1]) == 'True' for pair in pairs],
        'target': sample['target'] if isinstance(sample['target'], int) else None,
        'acc': sample.get('acc'),
        'acc_norm': sample.get('acc_norm'),
    }


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument('model')
    parser.add_argument('data')
    parser.add_argument('out')
    parser.add_argument('--limit', type=int, default=50)
    parser.add_argument('--few-shot', action='append', default=[], metavar='TASK=K')
    parser.add_argument('--tasks', default=','.join(TASKS))
    parser.add_argument('--threads', type=int, default=2)
    parser.add_argument('--max-length', type=int, help="tokens of a window; left out: the model's context")
    parser.add_argument('--batch-size', type=int, default=4)
    parser.add_argument('--dtype', default='float32', help='of the weights; the log-likelihood of a page of 24,000 is in steps of 0.002 in float32')
    options = parser.parse_args()

    import torch
    from lm_eval import simple_evaluate
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks import TaskManager

    torch.set_num_threads(options.threads)
    model = HFLM(pretrained=options.model, dtype=options.dtype, device='cpu', batch_size=options.batch_size,
                 max_length=options.max_length)
    runs = [(name, 0) for name in options.tasks.split(',') if name]
    runs += [(name, int(count)) for name, count in (pair.split('=') for pair in options.few_shot)]
    result = {'model': options.model, 'limit': options.limit, 'runs': []}
    with tempfile.TemporaryDirectory() as folder:
        write_tasks(pathlib.Path(folder), options.data)
        manager = TaskManager(include_path=folder, include_defaults=False)
        for name, count in runs:
            answer = simple_evaluate(
                model=model, tasks=[f'{name}_local'], num_fewshot=count, limit=options.limit, task_manager=manager,
                log_samples=True, bootstrap_iters=0,
            )
            samples = answer['samples'][f'{name}_local']
            result['runs'].append({
                'task': name,
                'few_shot': count,
                'results': answer['results'][f'{name}_local'],
                'samples': [item(sample) for sample in sorted(samples, key=lambda sample: sample['doc_id'])],
            })
            pathlib.Path(options.out).write_text(json.dumps(result, default=str))
            print(name, count, {k: v for k, v in answer['results'][f'{name}_local'].items() if 'acc' in k or 'perp' in k})


main()
