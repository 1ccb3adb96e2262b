package weights

// DefaultHub is where known models come from; its layout is
// HUB/REPOSITORY/resolve/REVISION/FILE.
const DefaultHub = "https://huggingface.co"

// Known are the models that tandem knows by name. Only checksums that were
// computed from the files themselves are pinned; where they are missing, the
// person who pulls gives them.
func Known() []Model {
	return []Model{
		{
			Name:       "all-minilm-l6-v2",
			Repository: "sentence-transformers/all-MiniLM-L6-v2",
			Revision:   "1110a243fdf4706b3f48f1d95db1a4f5529b4d41",
			Licence:    "Apache-2.0",
			About:      "English sentences, 6 layers, 384 dimensions",
			Files: []File{
				{"config.json", "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41", 612},
				{"model.safetensors", "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db", 90868376},
				{"tokenizer.json", "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037", 466247},
				{"sentence_bert_config.json", "fc1993fde0a95c24ec6c022539d41cf6e2f7c9721e5415d6fb6897472a9cd4b7", 53},
				{"modules.json", "84e40c8e006c9b1d6c122e02cba9b02458120b5fb0c87b746c41e0207cf642cf", 349},
				{"1_Pooling/config.json", "4be450dde3b0273bb9787637cfbd28fe04a7ba6ab9d36ac48e92b11e350ffc23", 190},
			},
		},
		sentence("all-minilm-l12-v2", "sentence-transformers/all-MiniLM-L12-v2", "Apache-2.0", "English sentences, 12 layers, 384 dimensions", ""),
		sentence("bge-small-en-v1.5", "BAAI/bge-small-en-v1.5", "MIT", "English sentences, 12 layers, 384 dimensions", ""),
		sentence("e5-small-v2", "intfloat/e5-small-v2", "MIT", "English sentences, 12 layers, 384 dimensions", "query: "),
	}
}

// sentence is a model with the files that sentence-transformers wants, whose
// checksums are not known.
func sentence(name, repository, licence, about, prefix string) Model {
	return Model{
		Name: name, Repository: repository, Revision: "main", Licence: licence, About: about, Prefix: prefix,
		Files: []File{
			{Name: "config.json"},
			{Name: "model.safetensors"},
			{Name: "tokenizer.json"},
			{Name: "sentence_bert_config.json"},
			{Name: "modules.json"},
			{Name: "1_Pooling/config.json"},
		},
	}
}

// Find is the known model of a name.
func Find(name string) (Model, bool) {
	for _, m := range Known() {
		if m.Name == name {
			return m, true
		}
	}
	return Model{}, false
}
