//! What schemars must be told, so that its schema allows whatever serde takes, and no field needs a schema of its own.

use proc_macro2::TokenStream;
use quote::{format_ident, quote};
use syn::punctuated::Punctuated;
use syn::{
    Attribute, Data, DeriveInput, Expr, ExprLit, Field, Fields, Ident, Lit, LitStr, Meta, MetaNameValue,
    Token, Type, Variant, parse_quote,
};

/// Puts `#[schemars]` attributes on the type and its fields. Returns the functions that these name.
pub(super) fn annotate(item: &mut DeriveInput) -> TokenStream {
    let mut functions = Functions::of(item);
    let container = Serde::of(&item.attrs);
    if let Some(from) = container.text("from").or_else(|| container.text("try_from"))
        && let Ok(from) = from.parse::<Type>()
    {
        functions.whole(&mut item.attrs, &from);
        return functions.into_tokens();
    }
    let is_read_ahead = match &mut item.data {
        Data::Struct(data) => {
            functions.fields(&mut data.fields);
            data.fields.iter().any(|field| Serde::of(&field.attrs).has("flatten"))
        }
        Data::Enum(data) => {
            let (mut is_other, mut is_untagged) = (false, false);
            for variant in &mut data.variants {
                let serde = Serde::of(&variant.attrs);
                is_other |= serde.has("other") || serde.has("alias");
                is_untagged |= serde.has("untagged");
                functions.variant(variant);
            }
            if is_other {
                item.attrs.push(parse_quote!(#[schemars(extend("x-any" = true))]));
            }
            is_untagged || container.has("untagged") || container.has("tag")
        }
        Data::Union(_) => false,
    };
    let has_keys = match &item.data {
        Data::Struct(data) => matches!(data.fields, Fields::Named(_)) && !container.has("transparent"),
        Data::Enum(_) => true,
        Data::Union(_) => false,
    };
    if is_read_ahead {
        item.attrs.push(parse_quote!(#[schemars(extend("x-open" = true))]));
    } else if has_keys && !container.has("deny_unknown_fields") {
        // `Config::from_json` sees to that.
        item.attrs.push(parse_quote!(#[schemars(deny_unknown_fields)]));
    }
    functions.into_tokens()
}

/// Functions that make the schemas of fields: of those whose type has none, they say that it may be anything. A generic
/// type has none: they could not name its parameters.
struct Functions {
    name: Ident,
    is_generic: bool,
    /// The keys of a variant's only field stand beside the tag.
    has_tag_inside: bool,
    made: Vec<TokenStream>,
}

impl Functions {
    fn of(item: &DeriveInput) -> Functions {
        let serde = Serde::of(&item.attrs);
        Functions {
            name: item.ident.clone(),
            is_generic: !item.generics.params.is_empty(),
            has_tag_inside: serde.has("tag") && !serde.has("content"),
            made: Vec::new(),
        }
    }

    fn variant(&mut self, variant: &mut Variant) {
        let serde = Serde::of(&variant.attrs);
        if serde.has("with") || serde.has("deserialize_with") {
            variant.attrs.push(anything());
        } else {
            self.fields(&mut variant.fields);
        }
    }

    fn fields(&mut self, fields: &mut Fields) {
        fields.iter_mut().for_each(|field| self.field(field));
    }

    fn field(&mut self, field: &mut Field) {
        let serde = Serde::of(&field.attrs);
        if serde.has("skip") || serde.has("skip_deserializing") {
            return;
        }
        let aliases = serde.texts("alias");
        if !aliases.is_empty() {
            field.attrs.push(parse_quote!(#[schemars(extend("x-aliases" = [#(#aliases),*]))]));
        }
        let schemars = Serde::named("schemars", &field.attrs);
        if schemars.has("with") || schemars.has("schema_with") {
            return;
        }
        if serde.has("with") || serde.has("deserialize_with") {
            field.attrs.push(anything());
        } else if !self.is_generic {
            let is_inside = self.has_tag_inside && field.ident.is_none();
            let kind = if serde.has("flatten") || is_inside { "flattened" } else { "field" };
            let path = self.function(&Ident::new(kind, self.name.span()), &field.ty);
            field.attrs.push(parse_quote!(#[schemars(schema_with = #path)]));
        }
    }

    /// The type is read as another one is.
    fn whole(&mut self, attributes: &mut Vec<Attribute>, from: &Type) {
        if !self.is_generic {
            let path = self.function(&format_ident!("field"), from);
            attributes.push(parse_quote!(#[schemars(schema_with = #path)]));
        }
    }

    /// The path of a function that makes this type's schema.
    fn function(&mut self, kind: &Ident, ty: &Type) -> LitStr {
        let function = format_ident!("__schema_{}", self.made.len());
        let private = quote!(::notifyit_plugin_api::__private);
        self.made.push(quote! {
            fn #function(generator: &mut #private::schemars::SchemaGenerator) -> #private::schemars::Schema {
                use #private::schema::probe::*;
                __Of::<#ty>::#kind(generator)
            }
        });
        LitStr::new(&format!("{}::{function}", self.name), self.name.span())
    }

    fn into_tokens(self) -> TokenStream {
        let (name, made) = (self.name, self.made);
        if made.is_empty() {
            return TokenStream::new();
        }
        quote! {
            #[automatically_derived]
            impl #name {
                #(#made)*
            }
        }
    }
}

fn anything() -> Attribute {
    parse_quote!(#[schemars(schema_with = "::notifyit_plugin_api::__private::schema::anything")])
}

/// What stands in a type's, a variant's or a field's `#[serde(…)]`.
struct Serde(Vec<Meta>);

impl Serde {
    fn of(attributes: &[Attribute]) -> Serde {
        Serde::named("serde", attributes)
    }

    fn named(name: &str, attributes: &[Attribute]) -> Serde {
        let attributes = attributes.iter().filter(|attribute| attribute.path().is_ident(name));
        // What cannot be read serde itself complains of.
        let lists = attributes.filter_map(|attribute| {
            attribute.parse_args_with(Punctuated::<Meta, Token![,]>::parse_terminated).ok()
        });
        Serde(lists.flatten().collect())
    }

    fn has(&self, key: &str) -> bool {
        self.0.iter().any(|meta| meta.path().is_ident(key))
    }

    fn text(&self, key: &str) -> Option<LitStr> {
        self.texts(key).into_iter().next()
    }

    fn texts(&self, key: &str) -> Vec<LitStr> {
        let text = |meta: &Meta| match meta {
            Meta::NameValue(MetaNameValue {
                value: Expr::Lit(ExprLit { lit: Lit::Str(text), .. }), ..
            }) => Some(text.clone()),
            _ => None,
        };
        self.0.iter().filter(|meta| meta.path().is_ident(key)).filter_map(text).collect()
    }
}
