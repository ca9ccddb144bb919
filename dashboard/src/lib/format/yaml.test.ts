import { expect, it } from 'vitest';
import { toYaml } from './yaml';

it('writes objects, lists and lists of objects', () => {
	expect(
		toYaml({
			name: 'nightly',
			spec: {
				container: {
					image: 'docker.io/library/alpine:3.22',
					args: ['sh', '-c', 'echo "hi"'],
					env: {}
				},
				messages: [{ role: 'user', content: 'two\nlines' }, []],
				gpus: 2,
				nothing: undefined,
				nested: { gone: undefined }
			}
		})
	).toBe(`name: nightly
spec:
  container:
    image: docker.io/library/alpine:3.22
    args:
      - sh
      - "-c"
      - "echo \\"hi\\""
    env: {}
  messages:
    - role: user
      content: "two\\nlines"
    - []
  gpus: 2
  nested: {}
`);
	expect([toYaml('a'), toYaml([]), toYaml(null), toYaml([[1, 2]])]).toEqual([
		'a\n',
		'[]\n',
		'null\n',
		'- - 1\n  - 2\n'
	]);
});

it.each([
	'',
	' ',
	'true',
	'No',
	'null',
	'~',
	'1',
	'1.10',
	'0x1f',
	'1e3',
	'2026-01-01',
	'a: b',
	'a:',
	'a #b',
	'#a',
	'- a',
	'[a]',
	'{a}',
	'*a',
	'&a',
	'!a',
	'%a',
	'@a',
	'`a`',
	"'a'",
	'a ',
	'a,b',
	'=',
	'.inf',
	'a\u0000b',
	'é'
])('puts %j in quotes', (text) => expect(toYaml(text)).toBe(`${JSON.stringify(text)}\n`));

it.each([
	'a',
	'echo hello',
	'qwen3:0.6b',
	'sha256:ab',
	'os=linux',
	'/bin/sh',
	'a-b_c.d',
	'user@host'
])('leaves %j as it is', (text) => expect(toYaml(text)).toBe(`${text}\n`));
