export type SnippetKind = 'curl' | 'python' | 'node' | 'environment';

export const SNIPPETS: { kind: SnippetKind; label: string }[] = [
	{ kind: 'curl', label: 'curl' },
	{ kind: 'python', label: 'Python' },
	{ kind: 'node', label: 'Node' },
	{ kind: 'environment', label: 'Environment' }
];

/** The command that asks the gateway at an origin as a body says. */
export function chatCurl(origin: string, body: unknown): string {
	const quoted = JSON.stringify(body).replaceAll("'", "'\\''");
	return `curl ${origin}/v1/chat/completions \\\n  -H 'Content-Type: application/json' \\\n  -d '${quoted}'`;
}

/** Code that asks a model through the gateway of the orchestrator at an origin. */
export function gatewaySnippet(kind: SnippetKind, origin: string, model: string): string {
	const base = `${origin}/v1`;
	switch (kind) {
		case 'curl':
			return chatCurl(origin, { model, messages: [{ role: 'user', content: 'Hello!' }] });
		case 'python':
			return `from openai import OpenAI

client = OpenAI(base_url=${JSON.stringify(base)}, api_key="unused")
reply = client.chat.completions.create(
    model=${JSON.stringify(model)},
    messages=[{"role": "user", "content": "Hello!"}],
)
print(reply.choices[0].message.content)`;
		case 'node':
			return `import OpenAI from 'openai';

const client = new OpenAI({ baseURL: ${JSON.stringify(base)}, apiKey: 'unused' });
const reply = await client.chat.completions.create({
  model: ${JSON.stringify(model)},
  messages: [{ role: 'user', content: 'Hello!' }]
});
console.log(reply.choices[0].message.content);`;
		case 'environment':
			return `export OPENAI_BASE_URL=${base}\nexport OPENAI_API_KEY=unused`;
	}
}
