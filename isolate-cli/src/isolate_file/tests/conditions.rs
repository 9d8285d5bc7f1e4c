use super::*;

fn holds(expression: &str, config: &[(&str, &str)]) -> bool {
    Condition::parse(expression).unwrap().holds(&variables(config).config)
}

fn refusal(expression: &str) -> String {
    Condition::parse(expression).unwrap_err().to_string()
}

#[test]
fn equality_tells_numbers_and_texts_apart() {
    assert!(holds("OS=='linux'", &[("OS", "linux")]));
    assert!(!holds("OS==\"linux\"", &[("OS", "Linux")]));
    assert!(holds("chromeos==1", &[("chromeos", "1")]));
    assert!(!holds("chromeos=='1'", &[("chromeos", "1")]));
    assert!(holds("a==-1", &[("a", "-1")]));
}

#[test]
fn and_binds_stronger_than_or() {
    let expression = "a==1 or b==1 and c==1";
    assert!(holds(expression, &[("a", "1"), ("b", "0"), ("c", "0")]));
    assert!(!holds(expression, &[("a", "0"), ("b", "1"), ("c", "0")]));
    let grouped = "(a==1 or b==1) and c==1";
    assert!(!holds(grouped, &[("a", "1"), ("b", "0"), ("c", "0")]));
    assert!(holds(grouped, &[("a", "0"), ("b", "1"), ("c", "1")]));
}

#[test]
fn values_that_no_condition_names_take_part_in_either_order() {
    let config = [("OS", "linux"), ("chromeos", "0")];
    assert!(holds("OS=='linux' or chromeos==1", &config));
    assert!(holds("chromeos==1 or OS=='linux'", &config));
    assert!(holds("a==1 and b==2 or c==3", &[("a", "0"), ("b", "0"), ("c", "3")]));
}

#[test]
fn what_is_no_condition_is_refused_with_a_remedy() {
    let refused = [
        ("", "at character 1: found the end, expected the name of a variable"),
        ("OS", "at character 3: found the end, expected `==`"),
        ("OS!='x'", "unexpected character '!'"),
        ("OS='x'", "unexpected character '='"),
        ("not OS=='x'", "found `not`, expected the name of a variable"),
        ("OS in 'x'", "found `in`, expected `==`"),
        ("'x'==OS", "the variable comes first: write NAME==VALUE"),
        ("x==True", "found `True`, expected a string in quotes or a number"),
        ("a==1==2", "found `==`, expected `and`, `or` or the end"),
        ("(a==1", "found the end, expected `and`, `or` or `)`"),
        ("a==1 and", "expected the name of a variable"),
        ("a==1 b==2", "found `b`"),
        ("f(a)", "found `(`, expected `==`"),
    ];
    for (expression, message) in refused {
        let error = refusal(expression);
        assert!(error.contains(message), "{expression} gave: {error}");
    }
}

#[test]
fn all_missing_configuration_variables_are_named_at_once() {
    let text = "{'conditions': [['a==1 or b==1', {}], ['c==1', {}]]}";
    let error = evaluate_all(&[("/src/test/a.isolate", text)], &[("b", "1")]).unwrap_err();
    assert!(error.to_string().contains("were not given: a, c: add --config-variable a=VALUE"), "{error}");
}
