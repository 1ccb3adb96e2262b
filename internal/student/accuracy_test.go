package student_test

import (
	"context"
	"encoding/csv"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"tandem"
	"tandem/internal/student"
	"tandem/internal/student/linear"
	"tandem/internal/student/studenttest"
)

// dataFile finds a file of the shared data sets or skips the test.
func dataFile(t *testing.T, name string) string {
	t.Helper()
	if testing.Short() || studenttest.Race {
		t.Skip("trains for many seconds; run without -short and -race")
	}
	dir := os.Getenv("TANDEM_DATA")
	if dir == "" {
		root, err := os.Getwd()
		for err == nil {
			if _, missing := os.Stat(filepath.Join(root, "go.mod")); missing == nil || root == filepath.Dir(root) {
				break
			}
			root = filepath.Dir(root)
		}
		dir = filepath.Join(root, "..", "shared", "data")
	}
	path := filepath.Join(dir, name)
	if _, err := os.Stat(path); err != nil {
		t.Skipf("%s is absent; point TANDEM_DATA at the data sets to run this test", path)
	}
	return path
}

// readCSV returns two columns of a file.
func readCSV(t *testing.T, path, text, label string) [][2]string {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	all, err := csv.NewReader(f).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	a, b := slices.Index(all[0], text), slices.Index(all[0], label)
	var out [][2]string
	for _, r := range all[1:] {
		out = append(out, [2]string{r[a], r[b]})
	}
	return out
}

// accuracy trains linear on some rows and asks about others.
func accuracy(t *testing.T, train, test [][2]string) float64 {
	t.Helper()
	var d student.Dataset
	index := make(map[string]int)
	for _, r := range train {
		if _, ok := index[r[1]]; !ok {
			index[r[1]] = len(d.Labels)
			d.Labels = append(d.Labels, r[1])
		}
		d.Rows = append(d.Rows, student.Example{Input: tandem.TextInput(r[0]), Label: index[r[1]], Weight: 1})
	}
	m, err := linear.Family{}.Train(context.Background(), d, student.Options{Seed: 1, Threads: 2})
	if err != nil {
		t.Fatal(err)
	}
	right := 0
	var out student.Output
	for _, r := range test {
		in := tandem.TextInput(r[0])
		m.Predict(&in, &out)
		if k, ok := index[r[1]]; ok && out.Probs[k] == slices.Max(out.Probs) {
			right++
		}
	}
	return float64(right) / float64(len(test))
}

func TestBanking77Accuracy(t *testing.T) {
	train := readCSV(t, dataFile(t, "banking77_gpt/train_gold.csv"), "text", "label")
	test := readCSV(t, dataFile(t, "banking77_gpt/test_gpt.csv"), "text", "label")
	got := accuracy(t, train, test)
	t.Logf("accuracy %.4f", got)
	if got < 0.914 { // seeds spread by ±0.2 points around 91.9 %
		t.Errorf("accuracy %.4f, want about 0.919", got)
	}
}

func TestCLINC150Accuracy(t *testing.T) {
	raw, err := os.ReadFile(dataFile(t, "clinc150/data_full.json"))
	if err != nil {
		t.Fatal(err)
	}
	var parts map[string][][2]string
	if err := json.Unmarshal(raw, &parts); err != nil {
		t.Fatal(err)
	}
	got := accuracy(t, slices.Concat(parts["train"], parts["val"]), parts["test"])
	t.Logf("accuracy %.4f", got)
	if got < 0.937 {
		t.Errorf("accuracy %.4f, want about 0.941", got)
	}
}
